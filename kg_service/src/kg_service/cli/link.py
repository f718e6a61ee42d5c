"""`kg-service link`: what one caption mentions."""

from __future__ import annotations

from typing import Annotated

import typer
from nbclip.errors import InvalidInput

from kg_service.cli.options import Data, LinkerName, Prior, VocabularyFolder, settings_of
from kg_service.cli.shown.console import stdout
from kg_service.cli.shown.mentions import coloured, mention_table


def link(
    text: Annotated[str, typer.Argument(help="The caption.")],
    data: Data = None,
    vocabulary: VocabularyFolder = None,
    linker: LinkerName = None,
    prior: Prior = None,
    json: Annotated[bool, typer.Option("--json", help="Print what `POST /v1/link` answers.")] = False,
) -> None:
    """Show the concepts a caption mentions and why: green is present, red absent, yellow uncertain.

    Magenta is of the family, cyan of the past.

    The rules that find a mention: exact, case (equal except for case), normalised (equal lemmas), word-order, stem, synonym (of a
    part or an ill), misspelt, learned (from a prior), abbreviation and radiology-abbreviation. If words could mean several
    concepts, these decide, in this order: how exact the rule is; how central the concept is, and how many of its names fit; the
    rank of the name, its source and its term type; the lower CUI. The other candidates are listed below the chosen one.

    `kg-service link "Chest X-ray: pleural effusion, no pneumothorax."`
    """
    from nbclip.schemas.base import MAX_CAPTION_CHARACTERS

    from kg_service.linking.answer import link_answer
    from kg_service.linking.builder import build_linker
    from kg_service.linking.languages import warn_of_languages
    from kg_service.linking.linkers import linker_settings
    from kg_service.vocabulary.vocabulary import open_vocabulary

    if len(text) > MAX_CAPTION_CHARACTERS:
        raise InvalidInput(
            f"a caption of {len(text):,} characters; the limit is {MAX_CAPTION_CHARACTERS:,}", hint="link it in parts"
        )
    settings = settings_of(data=data, vocabulary=vocabulary, linker=linker, linker_prior=prior)
    known = open_vocabulary(settings.vocabulary_folder)
    warn_of_languages(known)
    opened = build_linker(settings.linker, known, linker_settings(settings, known))
    answer = link_answer([text], opened, known, with_names=settings.show_names)
    if json:
        typer.echo(answer.model_dump_json(indent=1))
        return
    (linked,) = answer.results
    stdout().print(coloured(linked), soft_wrap=True)
    stdout().print(mention_table(linked.mentions) if linked.mentions else "no concept found")
