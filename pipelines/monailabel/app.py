"""The app as the server of MONAI Label sees it: thin shells over the modules next to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mose_med.errors import MissingDependencyError
from mose_med.runtime.device import choose_device
from pipelines.monailabel.inference import CHOICES, LabelModel
from pipelines.monailabel.raters import keep_for_rater, rater_of
from pipelines.monailabel.scores import SCORES, next_image, score_images
from pipelines.monailabel.training import CHAMPION, EXPORTED, train_on

try:
    from monailabel.interfaces.app import MONAILabelApp
    from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
    from monailabel.interfaces.tasks.scoring import ScoringMethod
    from monailabel.interfaces.tasks.strategy import Strategy
    from monailabel.interfaces.tasks.train import TrainTask
except ImportError as error:
    raise MissingDependencyError("monailabel (start the app with its start.sh)", "mlflow") from error

__all__ = ["MoseInfer", "MoseLabelApp", "MoseScoring", "MoseStrategy", "MoseTraining"]


class MoseInfer(InferTask):  # type: ignore[misc]
    """Inference at points, or over the lungs."""

    def __init__(self, model: LabelModel, labels: dict[str, int], *, from_points: bool) -> None:
        what = "the nodule at each point" if from_points else "the lesions in the lungs"
        kind = InferType.DEEPGROW if from_points else InferType.SEGMENTATION
        config = {"result": list(CHOICES), "expert": 1, "sample": 1, "samples_per_expert": 4, "seed": 0}
        super().__init__(kind, labels, 3, f"MoSE: {what}, with the probability of every expert", config)
        self._model = model
        self._from_points = from_points

    def is_valid(self) -> bool:
        """Whether there are weights."""
        return self._model.path.exists()

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answer a request."""
        answer = self._model.answer(request, from_points=self._from_points)
        return str(answer.file), answer.details


class MoseScoring(ScoringMethod):  # type: ignore[misc]
    """A score of every image."""

    def __init__(self, model: LabelModel, score: str) -> None:
        super().__init__(f"MoSE: {SCORES[score]}")
        self._model = model
        self._score = score

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, int]:
        """Score the images of a datastore."""
        return score_images(self._model, datastore, self._score)


class MoseStrategy(Strategy):  # type: ignore[misc]
    """The most uncertain image first."""

    def __init__(self, score: str) -> None:
        super().__init__(f"MoSE: the highest {score.replace('_', ' ')} first ({SCORES[score]})")
        self._score = score

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, str] | None:
        """The next image for who asks."""
        image = next_image(datastore, self._score, rater_of(request))
        return None if image is None else {"id": image}


class MoseTraining(TrainTask):  # type: ignore[misc]
    """Retraining on the saved labels."""

    def __init__(self, app: Path, studies: str, conf: dict[str, str]) -> None:
        super().__init__("MoSE: fine-tune on the labels of all raters, and keep the better model")
        self._app = app
        self._studies = studies
        self._conf = conf

    def config(self) -> dict[str, Any]:
        """What clients let the user choose."""
        return {"max_epochs": 20, "promote": ["auto", "never", "force"]}

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        """Train."""
        return train_on(Path(self._studies), self._app, {**self._conf, **request, "device": _device(request)})


def _device(request: dict[str, Any]) -> str:
    """The device that a client names where this machine has it, or else its best."""
    wanted = request.get("device", "auto")
    wanted = str(wanted[0] if isinstance(wanted, list) else wanted)
    on_cpu = wanted.startswith("cuda") and choose_device("auto").type == "cpu"
    return "cpu" if on_cpu else wanted


class MoseLabelApp(MONAILabelApp):  # type: ignore[misc]
    """The app; ``--conf device cpu`` chooses the device, and ``held_out`` and ``train_config`` are of the training."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        folder = Path(app_dir)
        weights = (folder / "model" / CHAMPION, folder / "model" / EXPORTED)
        self._model = LabelModel(*weights, device=conf.get("device", "auto"))
        super().__init__(
            app_dir,
            studies,
            conf,
            name="MoSE",
            description="Distributions of segmentations: what several experts would outline, with probabilities",
        )

    def init_infers(self) -> dict[str, Any]:
        """Models, by the names that clients show."""
        labels = {name: value for value, name in enumerate(self._model.model().config.classes) if value}
        return {
            "mose_nodule": MoseInfer(self._model, labels, from_points=True),
            "mose_lungs": MoseInfer(self._model, labels, from_points=False),
        }

    def init_trainers(self) -> dict[str, Any]:
        """The one training."""
        return {"mose": MoseTraining(Path(self.app_dir), self.studies, self.conf)}

    def init_scoring_methods(self) -> dict[str, Any]:
        """A method a score."""
        return {score: MoseScoring(self._model, score) for score in SCORES}

    def init_strategies(self) -> dict[str, Any]:
        """A strategy a score, and MONAI Label's random one."""
        return {**{score: MoseStrategy(score) for score in SCORES}, **super().init_strategies()}

    def on_save_label(self, image_id: str, label_id: str) -> None:
        """Keep the label for its rater, too."""
        keep_for_rater(self.datastore(), image_id, label_id)
