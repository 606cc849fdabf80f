"""``mose-med prepare``: a subcommand for each source."""

from __future__ import annotations

from typing import Any

import typer

from mose_med.errors import ConfigError
from pipelines.common.command import command
from pipelines.common.console import ExitCode
from pipelines.prepare.options import (
    AuditLidcOptions,
    PrepareKnownPhantomOptions,
    PrepareLidcOptions,
    PreparePhantomOptions,
)
from pipelines.prepare.source_options import (
    PrepareCityscapesOptions,
    PrepareCommunityOptions,
    PrepareRaterMasksOptions,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, help="Turn a source into a datalist of multi-rater slices.")
    app.add_typer(group, name="prepare")
    command(group, choose=_whether_to_audit)(lidc)
    command(group, choose=_form)(phantom)
    command(group)(community)
    command(group, "rater-masks")(rater_masks)
    command(group)(cityscapes)


def lidc(options: PrepareLidcOptions | AuditLidcOptions) -> ExitCode:
    """LIDC-IDRI annotations and CT to multi-rater slices (needs the extra lidc)."""
    if isinstance(options, AuditLidcOptions):
        from pipelines.prepare.audit import audit_lidc

        audit_lidc(options.crops, split_csv=options.split_csv, split_salt=options.split_salt)
        return ExitCode.DONE
    from pipelines.prepare.lidc import prepare_lidc

    return prepare_lidc(options).exit_code


def phantom(options: PreparePhantomOptions | PrepareKnownPhantomOptions) -> None:
    """CT phantoms: DICOM in LIDC's folder layout (needs the extra lidc), or a datalist with its exact truth."""
    if isinstance(options, PrepareKnownPhantomOptions):
        from pipelines.prepare.known_phantom import prepare_known_phantom

        prepare_known_phantom(options)
    else:
        from pipelines.prepare.phantom import prepare_phantom

        prepare_phantom(options)


def community(options: PrepareCommunityOptions) -> ExitCode:
    """LIDC slices as they circulate in the community (HDF5 needs the extra community)."""
    from pipelines.prepare.community import prepare_community

    return prepare_community(options).exit_code


def rater_masks(options: PrepareRaterMasksOptions) -> ExitCode:
    """One's own images with masks of one or more raters (NIfTI, NRRD, MetaImage, DICOM SEG), and how far they agree."""
    from pipelines.prepare.rater_masks import prepare_rater_masks

    return prepare_rater_masks(options).exit_code


def cityscapes(options: PrepareCityscapesOptions) -> ExitCode:
    """Multimodal Cityscapes: street scenes whose five class flips give 32 modes of known probability."""
    from pipelines.prepare.cityscapes import prepare_cityscapes

    return prepare_cityscapes(options).exit_code


def _whether_to_audit(given: dict[str, Any]) -> type:
    if "audit" in given:
        return AuditLidcOptions
    for name in ("lidc_root", "output_dir"):
        if name not in given:
            raise ConfigError(f"--{name.replace('_', '-')} is needed, unless with --audit")
    return PrepareLidcOptions


def _form(given: dict[str, Any]) -> type:
    if given.get("form") == "datalist":
        return PrepareKnownPhantomOptions
    if "rater_disagreement" in given:
        raise ConfigError("--rater-disagreement needs --form datalist: the outlines of dicom are LIDC-IDRI's own")
    return PreparePhantomOptions
