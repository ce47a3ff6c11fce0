"""UIDs and what hangs on them: names, SOP classes, transfer syntaxes, file name prefixes.

The words are pydicom's, from its copy of PS3.6 Table A-1; no UID is typed here that it knows.
"""

import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

VERSION = "0.1.0"
IMPLEMENTATION_CLASS_UID = "2.25.167549487932267690351940239577372006664"
IMPLEMENTATION_VERSION_NAME = f"STORESCP_{VERSION}"  # at most 16 characters, PS3.7 D.3.3.2.3

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
STORAGE_SERVICE_CLASS = "1.2.840.10008.4.2"

LONGEST_UID = 64  # characters, PS3.5 9.1


def _uid_dictionary() -> dict[str, Any]:
    """Rows of PS3.6 Table A-1 by UID: name, type, information, retired, keyword."""
    # Of the package only this module is run: pydicom imports all that decodes pixels, and with it whatever the machine
    # has of numpy and requests, which took half of the time until a server listened, and 20 MiB.
    package = find_spec("pydicom")
    if package is None:
        raise ImportError("pydicom is not installed")
    spec = PathFinder.find_spec("_uid_dict", package.submodule_search_locations)
    if spec is None or spec.loader is None:
        raise ImportError("this pydicom has no module _uid_dict")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    rows: dict[str, Any] = module.UID_dictionary
    return rows


_ROWS = _uid_dictionary()
_NAMES = {uid: row[0] for uid, row in _ROWS.items()}
_RETIRED = frozenset(uid for uid, row in _ROWS.items() if row[3])
_KEYWORDS = {row[4]: uid for uid, row in _ROWS.items()}

IMPLICIT_LE = _KEYWORDS["ImplicitVRLittleEndian"]
EXPLICIT_LE = _KEYWORDS["ExplicitVRLittleEndian"]
EXPLICIT_BE = _KEYWORDS["ExplicitVRBigEndian"]
UNCOMPRESSED = (EXPLICIT_LE, EXPLICIT_BE, IMPLICIT_LE)


def _is_storage(uid: str, name: str) -> bool:
    # Every Storage SOP Class of composite and other stored objects is named so, or is retired without a
    # name; printing (5.1.1), commitment (20) and the media directory (3.10) are elsewhere.
    return ("Storage" in name or not name) and uid.startswith("1.2.840.10008.5.1.4.")


KNOWN = frozenset(_ROWS)
STORAGE_SOP_CLASSES = frozenset(uid for uid, row in _ROWS.items() if row[1] == "SOP Class" and _is_storage(uid, row[0]))

# Not for C-STORE: the real-time video of PS3.22 (.7), and retired encodings of whole files (.6, Papyrus 3).
_NOT_FOR_MESSAGES = ("1.2.840.10008.1.2.6.", "1.2.840.10008.1.2.7.", "1.2.840.10008.1.20")
TRANSFER_SYNTAXES = frozenset(
    uid for uid, row in _ROWS.items() if row[1] == "Transfer Syntax" and not uid.startswith(_NOT_FOR_MESSAGES)
)


def _loss(uid: str) -> int:
    """Whether pixels are lost: 0, none; 1, perhaps some; 2, all, as it only says where they are (JPIP)."""
    name = _NAMES[uid]
    if "JPIP" in name:
        return 2
    return 0 if "Lossy" not in name and any(word in name for word in ("Lossless", "Deflate", "Uncompressed")) else 1


# Who offers several of them had better send what loses nothing.
COMPRESSED = tuple(sorted(TRANSFER_SYNTAXES.difference(UNCOMPRESSED), key=lambda uid: (_loss(uid), uid)))
# Deflated as a whole, PS3.5 A.5; of "Deflated Image Frame Compression" it is only the frames.
DEFLATED = frozenset(uid for uid in TRANSFER_SYNTAXES if "Deflate" in _NAMES[uid] and "Frame" not in _NAMES[uid])

PREFERENCES: dict[str, tuple[str, ...]] = {
    "uncompressed": UNCOMPRESSED if sys.byteorder == "little" else (EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE),
    "little": UNCOMPRESSED,
    "big": (EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE),
    "implicit": (IMPLICIT_LE,),
}


def name_of(uid: str) -> str:
    """The name PS3.6 gives to `uid`, or `uid` itself where it gives none."""
    return _NAMES.get(uid) or uid


def listed_name_of(uid: str) -> str:
    """The same as a list needs it, in which a retired one may have the name of another."""
    return f"{name_of(uid)} (Retired)" if uid in _RETIRED else name_of(uid)


def by_name(uids: Iterable[str]) -> list[str]:
    """The same, in the order in which people look for their names."""
    return sorted(uids, key=lambda uid: (name_of(uid).casefold(), uid))


def prefix_of(sop_class_uid: str) -> str:
    """The letters that begin the name of a file of this SOP Class: ``CT``, ``MR``, …, ``UN`` for an unknown one."""
    return _PREFIXES.get(sop_class_uid, "UN")


_PREFIX_TABLE = """
CR    ComputedRadiographyImageStorage
CT    CTImageStorage
CTE   EnhancedCTImageStorage LegacyConvertedEnhancedCTImageStorage
MR    MRImageStorage
MRE   EnhancedMRImageStorage EnhancedMRColorImageStorage LegacyConvertedEnhancedMRImageStorage
MRS   MRSpectroscopyStorage
PT    PositronEmissionTomographyImageStorage
PTE   EnhancedPETImageStorage LegacyConvertedEnhancedPETImageStorage
NM    NuclearMedicineImageStorage NuclearMedicineImageStorageRetired
US    UltrasoundImageStorage UltrasoundImageStorageRetired
USM   UltrasoundMultiFrameImageStorage UltrasoundMultiFrameImageStorageRetired
USE   EnhancedUSVolumeStorage
PA    PhotoacousticImageStorage
SC    SecondaryCaptureImageStorage MultiFrameSingleBitSecondaryCaptureImageStorage
SC    MultiFrameGrayscaleByteSecondaryCaptureImageStorage MultiFrameGrayscaleWordSecondaryCaptureImageStorage
SC    MultiFrameTrueColorSecondaryCaptureImageStorage
DX    DigitalXRayImageStorageForPresentation DigitalXRayImageStorageForProcessing
IO    DigitalIntraOralXRayImageStorageForPresentation DigitalIntraOralXRayImageStorageForProcessing
MG    DigitalMammographyXRayImageStorageForPresentation DigitalMammographyXRayImageStorageForProcessing
MGP   BreastProjectionXRayImageStorageForPresentation BreastProjectionXRayImageStorageForProcessing
BTO   BreastTomosynthesisImageStorage
XA    XRayAngiographicImageStorage XRayAngiographicBiPlaneImageStorage
XAE   EnhancedXAImageStorage
XA3   XRay3DAngiographicImageStorage
XC3   XRay3DCraniofacialImageStorage
RF    XRayRadiofluoroscopicImageStorage
RFE   EnhancedXRFImageStorage
ES    VLEndoscopicImageStorage
ESV   VideoEndoscopicImageStorage
GM    VLMicroscopicImageStorage
GMV   VideoMicroscopicImageStorage
SM    VLSlideCoordinatesMicroscopicImageStorage VLWholeSlideMicroscopyImageStorage
XC    VLPhotographicImageStorage
XCV   VideoPhotographicImageStorage
VL    VLImageStorageTrial VLMultiFrameImageStorageTrial
DMS   DermoscopicPhotographyImageStorage
CFM   ConfocalMicroscopyImageStorage ConfocalMicroscopyTiledPyramidalImageStorage
OP    OphthalmicPhotography8BitImageStorage OphthalmicPhotography16BitImageStorage
OP    WideFieldOphthalmicPhotographyStereographicProjectionImageStorage
OP    WideFieldOphthalmicPhotography3DCoordinatesImageStorage
OPT   OphthalmicTomographyImageStorage OphthalmicOpticalCoherenceTomographyEnFaceImageStorage
OPT   OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage
OPM   OphthalmicThicknessMapStorage CornealTopographyMapStorage
OPV   OphthalmicVisualFieldStaticPerimetryMeasurementsStorage
OAM   OphthalmicAxialMeasurementsStorage
IOL   IntraocularLensCalculationsStorage
LEN   LensometryMeasurementsStorage
AR    AutorefractionMeasurementsStorage
KER   KeratometryMeasurementsStorage
SRF   SubjectiveRefractionMeasurementsStorage
VA    VisualAcuityMeasurementsStorage
IV    IntravascularOpticalCoherenceTomographyImageStorageForPresentation
IV    IntravascularOpticalCoherenceTomographyImageStorageForProcessing
ECG   TwelveLeadECGWaveformStorage GeneralECGWaveformStorage AmbulatoryECGWaveformStorage
ECG   General32bitECGWaveformStorage
HD    HemodynamicWaveformStorage
EPS   CardiacElectrophysiologyWaveformStorage
AU    BasicVoiceAudioWaveformStorage GeneralAudioWaveformStorage
EEG   RoutineScalpElectroencephalogramWaveformStorage SleepElectroencephalogramWaveformStorage
EMG   ElectromyogramWaveformStorage
EOG   ElectrooculogramWaveformStorage
RESP  RespiratoryWaveformStorage MultichannelRespiratoryWaveformStorage
WF    WaveformStorageTrial ArterialPulseWaveformStorage BodyPositionWaveformStorage
PR    GrayscaleSoftcopyPresentationStateStorage ColorSoftcopyPresentationStateStorage
PR    PseudoColorSoftcopyPresentationStateStorage BlendingSoftcopyPresentationStateStorage
PR    XAXRFGrayscaleSoftcopyPresentationStateStorage GrayscalePlanarMPRVolumetricPresentationStateStorage
PR    CompositingPlanarMPRVolumetricPresentationStateStorage AdvancedBlendingPresentationStateStorage
PR    VolumeRenderingVolumetricPresentationStateStorage
PR    SegmentedVolumeRenderingVolumetricPresentationStateStorage
PR    MultipleVolumeRenderingVolumetricPresentationStateStorage
PR    VariableModalityLUTSoftcopyPresentationStateStorage
KO    KeyObjectSelectionDocumentStorage
SR    BasicTextSRStorage EnhancedSRStorage ComprehensiveSRStorage Comprehensive3DSRStorage ExtensibleSRStorage
SR    TextSRStorageTrial AudioSRStorageTrial DetailSRStorageTrial ComprehensiveSRStorageTrial
SR    ProcedureLogStorage MammographyCADSRStorage ChestCADSRStorage ColonCADSRStorage
SR    XRayRadiationDoseSRStorage EnhancedXRayRadiationDoseSRStorage PatientRadiationDoseSRStorage
SR    RadiopharmaceuticalRadiationDoseSRStorage ImplantationPlanSRStorage AcquisitionContextSRStorage
SR    SimplifiedAdultEchoSRStorage PlannedImagingAgentAdministrationSRStorage
SR    PerformedImagingAgentAdministrationSRStorage WaveformAnnotationSRStorage
SR    SpectaclePrescriptionReportStorage MacularGridThicknessAndVolumeReportStorage
DOC   EncapsulatedPDFStorage EncapsulatedCDAStorage
M3D   EncapsulatedSTLStorage EncapsulatedOBJStorage EncapsulatedMTLStorage
RAW   RawDataStorage
REG   SpatialRegistrationStorage DeformableSpatialRegistrationStorage
FID   SpatialFiducialsStorage
SEG   SegmentationStorage SurfaceSegmentationStorage
TR    TractographyResultsStorage
PM    ParametricMapStorage
RWV   RealWorldValueMappingStorage
ANN   MicroscopyBulkSimpleAnnotationsStorage
SSM   SurfaceScanMeshStorage SurfaceScanPointCloudStorage
RI    RTImageStorage EnhancedRTImageStorage EnhancedContinuousRTImageStorage
RD    RTDoseStorage
RS    RTStructureSetStorage
RP    RTPlanStorage RTIonPlanStorage
RTR   RTBeamsTreatmentRecordStorage RTBrachyTreatmentRecordStorage RTTreatmentSummaryRecordStorage
RTR   RTIonBeamsTreatmentRecordStorage
HP    HangingProtocolStorage
CP    ColorPaletteStorage
"""

_PREFIXES = {
    _KEYWORDS[keyword]: prefix
    for prefix, *keywords in map(str.split, _PREFIX_TABLE.strip().splitlines())
    for keyword in keywords
    if keyword in _KEYWORDS  # an older pydicom knows fewer
}
