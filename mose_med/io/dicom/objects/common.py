"""Shared by the DICOM objects of one case: identifiers, dates, codes and the model that made them.

Identifiers follow from the request (a text with input, options and versions), and dates are the source's own, so
that the same request gives the same bytes: an archive that holds an object already is sent the same object again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import highdicom as hd
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import PYDICOM_ROOT_UID, UID, ExplicitVRLittleEndian, generate_uid

from mose_med.io.dicom.source import ModelIdentity, SourceSeries

__all__ = [
    "ABNORMALITY",
    "LUNG",
    "NODULE",
    "CaseObjects",
    "MapPurpose",
    "Purpose",
    "private_code",
    "private_scheme",
    "without_run_traces",
]

MapPurpose = Literal["probability map", "entropy map"]
Purpose = Literal["segmentation", "probability", "report", "labelmap", "structures", "pictures"] | MapPurpose

ABNORMALITY = codes.SCT.MorphologicallyAbnormalStructure
NODULE = codes.SCT.Nodule
LUNG = codes.SCT.Lung

_MANUFACTURER = "mose_med"
_MODEL_NAME = "MoSE"
_SCHEME = "99MOSEMED"
_FAMILY = codes.DCM.ArtificialIntelligence
#: Date and time of an object whose source has neither.
_UNDATED = ("19000101", "000000")
_SERIES_NUMBERS: dict[Purpose, int] = {
    "segmentation": 9001,
    "probability": 9002,
    "report": 9003,
    "probability map": 9004,
    "entropy map": 9005,
    "labelmap": 9006,
    "structures": 9007,
    "pictures": 9008,
}
_DATED = ("Content", "Acquisition", "Series", "Study")
_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")


class CaseObjects(NamedTuple):
    """Makes what the objects of one case share.

    Attributes:
        source: series that they are derived from.
        model: that they were made by.
        request: text of everything that decides their content.
        finding: what is found; of several foreground classes, whose names the labels have, what they have in common.
    """

    source: SourceSeries
    model: ModelIdentity
    request: str
    finding: Code = NODULE

    def uid(self, purpose: str) -> str:
        """UID of what serves a purpose in this case."""
        instances = [dataset.SOPInstanceUID for dataset in self.source.slices]
        return str(generate_uid(PYDICOM_ROOT_UID, entropy_srcs=["mose_med", self.request, purpose, *instances]))

    def header(self, purpose: Purpose) -> dict[str, Any]:
        """Arguments that every highdicom object takes."""
        date, time = _content_date(self.source.header)
        return {
            "series_instance_uid": self.uid(f"{purpose} series"),
            "series_number": _SERIES_NUMBERS[purpose],
            "sop_instance_uid": self.uid(purpose),
            "instance_number": 1,
            "manufacturer": _MANUFACTURER,
            "manufacturer_model_name": _MODEL_NAME,
            "software_versions": self.model.version,
            "device_serial_number": self.model.weights_sha256[:16],
            "content_date": date,
            "content_time": time,
            **_character_set(self.source.header),
        }

    def object_without_images(
        self, sop_class: UID, modality: str, description: str, header: Mapping[str, Any]
    ) -> hd.base.SOPClass:
        """An object that highdicom does not make of images: with patient and study of the source, and its header.

        Args:
            sop_class: of the object.
            modality: likewise.
            description: of its series.
            header: as :meth:`header`, without what the class does not have.
        """
        return hd.base.SOPClass(
            study_instance_uid=self.source.header.StudyInstanceUID,
            sop_class_uid=sop_class,
            modality=modality,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            series_description=description,
            **self._patient_and_study(),
            **header,
        )

    def _patient_and_study(self) -> dict[str, Any]:
        header = self.source.header
        return {
            "patient_id": header.PatientID,
            "patient_name": header.PatientName,
            "patient_birth_date": header.PatientBirthDate,
            "patient_sex": header.PatientSex,
            "accession_number": header.AccessionNumber,
            "study_id": header.StudyID,
            "study_date": header.StudyDate,
            "study_time": header.StudyTime,
            "referring_physician_name": header.ReferringPhysicianName,
            "specific_character_set": header.get("SpecificCharacterSet"),
        } | _character_set(header)

    def algorithm(self) -> hd.AlgorithmIdentificationSequence:
        """The model, in a segmentation."""
        return hd.AlgorithmIdentificationSequence(
            name=_MODEL_NAME,
            family=_FAMILY,
            version=self.model.version,
            source=_MANUFACTURER,
            parameters={"weights_sha256": self.model.weights_sha256},
        )

    def report_algorithm(self) -> hd.sr.AlgorithmIdentification:
        """The model, in a report."""
        return hd.sr.AlgorithmIdentification(
            name=_MODEL_NAME,
            version=self.model.version,
            parameters=[f"weights_sha256={self.model.weights_sha256}"],
        )

    def observer(self) -> hd.sr.ObservationContext:
        """The model, as what observed."""
        device = hd.sr.DeviceObserverIdentifyingAttributes(
            uid=str(generate_uid(PYDICOM_ROOT_UID, entropy_srcs=["mose_med", *self.model])),
            name=_MODEL_NAME,
            manufacturer_name=_MANUFACTURER,
            model_name=_MODEL_NAME,
        )
        context = hd.sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
        return hd.sr.ObservationContext(observer_device_context=context)


def private_code(value: str, meaning: str) -> Code:
    """A code of this project, where the standard has none.

    Example:
        >>> private_code("EXPERT-1", "Expert 1").scheme_designator
        '99MOSEMED'
    """
    return Code(value, _SCHEME, meaning)


def private_scheme() -> CodingSchemeIdentificationItem:
    """Declares the owner of the private codes."""
    return CodingSchemeIdentificationItem(_SCHEME, name="Measurements of mose_med", responsible_organization="mose_med")


def without_run_traces(dataset: Dataset, dimension_uid: str) -> None:
    """Take out of an object what differs from run to run: times of the clock, and random UIDs of dimensions."""
    del dataset.InstanceCreationDate, dataset.InstanceCreationTime
    for equipment in dataset.get("ContributingEquipmentSequence", ()):
        equipment.pop("ContributionDateTime", None)
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(keyword, ()):
            item.DimensionOrganizationUID = dimension_uid


def _character_set(header: Dataset) -> dict[str, str]:
    """UTF-8 where the source has several character sets, or one that is made for use with others; else its own."""
    source = header.get("SpecificCharacterSet") or ""
    several = not isinstance(source, str) or source.startswith("ISO 2022")
    return {"specific_character_set": "ISO_IR 192"} if several else {}


def _content_date(header: Dataset) -> tuple[str, str]:
    for what in _DATED:
        date, time = (str(header.get(f"{what}{part}") or "").strip() for part in ("Date", "Time"))
        if _DATE.fullmatch(date):
            return date, time if _TIME.fullmatch(time) else "000000"
    return _UNDATED
