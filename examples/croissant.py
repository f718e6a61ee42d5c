"""Describes radiology-open in Croissant (MLCommons), with a SHA-256 of each file: writes croissant.json and images.sha256.

python examples/croissant.py examples/radiology-open
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import mlcroissant as mlc

VERSION = "1.0.0"
PUBLISHED = "2026-11-29"
CC = "https://creativecommons.org"
LICENCES = [f"{CC}/licenses/by/4.0/", f"{CC}/licenses/by-sa/4.0/", f"{CC}/publicdomain/zero/1.0/"]
COLUMNS = {
    "image_id": "identifier of the image, unique over all example data",
    "caption": "caption, in English; mostly not written by a radiologist: see caption_source",
    "caption_source": "qa_template (assembled from answers to questions), template (from the label) or real (an author's text)",
    "modality": "CT, MR, XR, US, …; empty: unknown",
    "organ": "region that the case is about; empty: unknown",
    "modality_organ": "both, joined by a hyphen",
    "split": "train, valid or retrieval; no group is in two of them",
    "source": "data set that the image is from",
    "licence": "licence of the image and its caption",
    "url": "address of the source",
    "attribution": "whom to name",
    "group": "case or patient, as far as the source says",
    "cuis": "UMLS concepts given with the image, joined by spaces; none here",
    "original_id": "identifier in the source",
}


def main(folder: Path) -> None:
    """Writes both files, of the same bytes for the same folder."""
    images = sorted(folder.glob("images/*.jpg"))
    sums = "".join(f"{digest(path)}  images/{path.name}\n" for path in images)
    (folder / "images.sha256").write_text(sums, encoding="utf-8")
    text = json.dumps(description(folder, len(images)), indent=1, ensure_ascii=False)
    (folder / "croissant.json").write_text(text + "\n", encoding="utf-8")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def description(folder: Path, count: int) -> dict[str, object]:
    """The data set as JSON-LD."""
    table = whole_file(folder, "metadata.csv", "one row for each image", "text/csv")
    sums = whole_file(folder, "images.sha256", "SHA-256 of each image, for sha256sum --check", "text/plain")
    images = mlc.FileSet(
        id="images", description=f"{count:,} JPEG files", encoding_formats=["image/jpeg"], includes="images/*.jpg"
    )
    fields = [from_table(column, text) for column, text in COLUMNS.items()]
    # The file's name tells which row it belongs to. The expression is applied twice.
    name = mlc.Source(
        file_set="images",
        extract=mlc.Extract(file_property=mlc.FileProperty.filename),
        transforms=[mlc.Transform(regex=r"^(.+?)(?:\.jpg)?$")],
    )
    content = mlc.Source(file_set="images", extract=mlc.Extract(file_property=mlc.FileProperty.content))
    fields += [
        mlc.Field(
            id="pairs/filename",
            name="filename",
            description="name of the image's file without its ending, the image_id",
            data_types=mlc.DataType.TEXT,
            source=name,
            references=mlc.Source(file_object="metadata.csv", extract=mlc.Extract(column="image_id")),
        ),
        mlc.Field(id="pairs/image", name="image", description="the image", data_types=mlc.DataType.IMAGE_OBJECT, source=content),
    ]
    pairs = mlc.RecordSet(id="pairs", name="pairs", description="images with captions", key="pairs/image_id", fields=fields)
    return mlc.Metadata(
        name="radiology-open",
        description=(
            f"{count:,} radiology images of at most 128 pixels a side with captions and labels, from VQA-Med 2019, MedNIST, "
            "VQA-RAD and the COVID-19 Image Data Collection, under open licences that metadata.csv has for each row. Example "
            "data of NB-CLIP."
        ),
        license=LICENCES,
        cite_as="See LICENSE.md: each source is to be cited.",
        creators=[mlc.Organization(name="The NB-CLIP maintainers")],
        date_published=PUBLISHED,
        version=VERSION,
        keywords=["radiology", "image-text retrieval", "CLIP"],
        in_language=["en"],
        data_limitations="Not for clinical use, and too few for claims about a method; most captions are made from labels.",
        data_collection="Cut by examples/cut.py from copies of the sources; LICENSE.md names them and what was changed.",
        personal_sensitive_information=["Radiology images of patients, as the sources published them; group is a made-up code."],
        distribution=[table, sums, images],
        record_sets=[pairs],
    ).to_json()


def whole_file(folder: Path, name: str, text: str, form: str) -> mlc.FileObject:
    path = folder / name
    size = f"{path.stat().st_size} B"
    return mlc.FileObject(
        id=name, name=name, description=text, content_url=name, content_size=size, encoding_formats=[form], sha256=digest(path)
    )


def from_table(column: str, text: str) -> mlc.Field:
    source = mlc.Source(file_object="metadata.csv", extract=mlc.Extract(column=column))
    kind = mlc.DataType.URL if column == "url" else mlc.DataType.TEXT
    return mlc.Field(id=f"pairs/{column}", name=column, description=text, data_types=kind, source=source)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
