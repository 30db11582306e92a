"""The codes and units that measurements carry, as in DICOM PS3.16 and UCUM; one list for all of quantification."""

from __future__ import annotations

from medseg.core.labels import Code
from medseg.core.volume import Unit

VOLUME = Code(value="118565006", scheme="SCT", meaning="Volume")
LONG_AXIS = Code(value="103339001", scheme="SCT", meaning="Long axis")
SHORT_AXIS = Code(value="103340004", scheme="SCT", meaning="Short axis")
LENGTH = Code(value="410668003", scheme="SCT", meaning="Length")
ANGLE = Code(value="1483009", scheme="SCT", meaning="Angle")
AREA = Code(value="42798000", scheme="SCT", meaning="Area")
DIAMETER = Code(value="81827009", scheme="SCT", meaning="Diameter")
SURFACE_AREA = Code(value="C0JK", scheme="IBSI", meaning="Surface Area of Mesh")
SPHERICITY = Code(value="QCFX", scheme="IBSI", meaning="Sphericity")
MEAN = Code(value="373098007", scheme="SCT", meaning="Mean")
STANDARD_DEVIATION = Code(value="386136009", scheme="SCT", meaning="Standard Deviation")
MINIMUM = Code(value="255605001", scheme="SCT", meaning="Minimum")
MAXIMUM = Code(value="56851009", scheme="SCT", meaning="Maximum")
PEAK = Code(value="126031", scheme="DCM", meaning="Peak Value Within ROI")
METABOLIC_VOLUME = Code(value="126032", scheme="DCM", meaning="Metabolic Volume")
TOTAL_LESION_GLYCOLYSIS = Code(value="126033", scheme="DCM", meaning="Total Lesion Glycolysis")
PROBABILITY = Code(value="122157", scheme="DCM", meaning="Probability")
ENTROPY = Code(value="ENTROPY", scheme="99MEDSEG", meaning="Mean entropy of the voxel probabilities")
AGREEMENT = Code(value="AGREEMENT", scheme="99MEDSEG", meaning="Mean agreement of the model's answers")

MILLILITRE = "ml"
MILLIMETRE = "mm"
SQUARE_MILLIMETRE = "mm2"
DEGREE = "deg"
GRAM = "g"
NO_UNIT = "1"
BIT = "bit"

UCUM_OF_UNIT: dict[Unit, str] = {
    "HU": "[hnsf'U]",
    "SUVbw": "g/ml{SUVbw}",
    "Bq/ml": "Bq/ml",
    "arbitrary": "[arb'U]",
}
"""The UCUM unit of a volume's voxel values."""
