"""The beginning of a batch: its plan in a folder."""

from __future__ import annotations

from pathlib import Path

from nbclip.errors import Conflict

from kg_service.batch.differences import differences
from kg_service.batch.plan import PLAN, PLAN_ANEW, Plan, read_plan
from kg_service.storage.flushing import make_folder
from kg_service.storage.replacement import write_file
from kg_service.storage.sweeping import sweep


def write_plan(folder: Path, plan: Plan) -> None:
    """Begins a batch in a folder, which is made; the same plan may be written again.

    Raises:
        Conflict: the folder has another plan, or something else in it.
    """
    sweep(folder)
    if (folder / PLAN).exists():
        if read_plan(folder).id != plan.id:
            raise Conflict(
                f"{folder} has another plan: {'; '.join(differences(read_plan(folder), plan))}",
                hint=f"{PLAN_ANEW}; kg-service batch run {folder} goes on with the one that is there",
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is not empty", hint="name a new folder, or empty this one")
    make_folder(folder)
    write_file(folder / PLAN, plan.content)
