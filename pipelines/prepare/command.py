"""``mose-med prepare``: a subcommand for each source."""

from __future__ import annotations

from typing import Any

import typer

from mose_med.errors import ConfigError
from pipelines.common.command_line.command import command, refuse_others
from pipelines.prepare.options import (
    AuditLidcOptions,
    PrepareKnownPhantomOptions,
    PrepareLidcOptions,
    PreparePhantomOptions,
)
from pipelines.prepare.source_options import (
    PrepareCityscapesOptions,
    PrepareCommunityOptions,
    PrepareLabelDatastoreOptions,
    PrepareRaterMasksOptions,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, help="Turn a source into a datalist of multi-rater slices.")
    app.add_typer(group, name="prepare")
    command(group, choose=_form, examples=_examples("phantom", "phantom", "known --kind datalist"))(phantom)
    command(group, choose=_lidc_options, examples=_examples("lidc --lidc-root LIDC-IDRI", "data", "data --jobs 4"))(
        lidc
    )
    command(group, "rater-masks", examples=_examples("rater-masks cases", "data", "data --classes background,tumour"))(
        rater_masks
    )
    command(group, examples=_examples("community data_lidc.hdf5", "data", "data --keep-going"))(community)
    command(group, "label-datastore", examples=_examples("label-datastore studies", "data", "data --num-raters 4"))(
        label_datastore
    )
    command(group, examples=_examples("cityscapes --root cityscapes", "data", "data --prediction-channel labels"))(
        cityscapes
    )


def _examples(source: str, *ends: str) -> tuple[str, ...]:
    return tuple(f"mose-med prepare {source} --output-dir {end}" for end in ends)


def lidc(options: PrepareLidcOptions | AuditLidcOptions) -> Any:
    """LIDC-IDRI annotations and CT to multi-rater slices (needs the extra lidc)."""
    if isinstance(options, AuditLidcOptions):
        from pipelines.prepare.sources.audit import audit_lidc

        return audit_lidc(options.crops, split_csv=options.split_csv, split_salt=options.split_salt)
    from pipelines.prepare.sources.lidc import prepare_lidc

    return prepare_lidc(options)


def phantom(options: PreparePhantomOptions | PrepareKnownPhantomOptions) -> Any:
    """CT phantoms: DICOM in LIDC's folder layout (needs the extra lidc), or a datalist with its exact truth."""
    if isinstance(options, PrepareKnownPhantomOptions):
        from pipelines.prepare.sources.known_phantom import prepare_known_phantom

        return prepare_known_phantom(options)
    from pipelines.prepare.sources.phantom import prepare_phantom

    return {"folder": prepare_phantom(options)}


def community(options: PrepareCommunityOptions) -> Any:
    """LIDC slices as they circulate in the community (HDF5 needs the extra community)."""
    from pipelines.prepare.sources.community import prepare_community

    return prepare_community(options)


def rater_masks(options: PrepareRaterMasksOptions) -> Any:
    """One's own images with masks of one or more raters (NIfTI, NRRD, MetaImage, DICOM SEG), and how far they agree."""
    from pipelines.prepare.sources.rater_masks import prepare_rater_masks

    return prepare_rater_masks(options)


def label_datastore(options: PrepareLabelDatastoreOptions) -> Any:
    """Labels that annotators saved on a MONAI Label server, one tag a rater, and how far they agree."""
    from data_prep.rater_masks.label_datastore import DATASTORE_NAME
    from pipelines.prepare.sources.rater_masks import prepare_rater_masks

    if not (options.source / DATASTORE_NAME).is_file():
        raise ConfigError(f"{options.source} has no {DATASTORE_NAME}: name the folder that the server was pointed at")
    return prepare_rater_masks(options)


def cityscapes(options: PrepareCityscapesOptions) -> Any:
    """Multimodal Cityscapes: street scenes whose five class flips give 32 modes of known probability."""
    from pipelines.prepare.sources.cityscapes import prepare_cityscapes

    return prepare_cityscapes(options)


def _lidc_options(given: dict[str, Any]) -> type:
    if "audit" in given:
        refuse_others(given, AuditLidcOptions, "cannot be combined with --audit: leave it out")
        return AuditLidcOptions
    for name in ("lidc_root", "output_dir"):
        if name not in given:
            raise ConfigError(f"--{name.replace('_', '-')} is needed, unless with --audit")
    return PrepareLidcOptions


def _form(given: dict[str, Any]) -> type:
    if given.get("kind") == "datalist":
        return PrepareKnownPhantomOptions
    if "rater_disagreement" in given:
        raise ConfigError("--rater-disagreement needs --kind datalist: the outlines of dicom are LIDC-IDRI's own")
    return PreparePhantomOptions
