from .api.evaluation import Calibration as Calibration
from .api.evaluation import Evaluation as Evaluation
from .api.evaluation import OperatingPointResult as OperatingPointResult
from .api.evaluation import evaluate as evaluate
from .api.examples import example_model as example_model
from .api.examples import example_scan as example_scan
from .api.model import Model as Model
from .api.model import load_model as load_model
from .api.page import write_report as write_report
from .api.prediction import Prediction as Prediction
from .predictions.explanation import Explanation as Explanation
from .predictions.explanation import ExplanationMap as ExplanationMap
from .predictions.results import NodulePrediction as NodulePrediction
from .predictions.results import TaskPrediction as TaskPrediction

__version__: str
NOT_A_MEDICAL_DEVICE: str
