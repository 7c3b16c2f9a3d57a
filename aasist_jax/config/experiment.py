"""What an experiment is described by: frozen dataclasses, with the range of every number in its type."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal

from msgspec import Meta
from typing_extensions import TypeVar

Model = TypeVar("Model", default=Any)

Count = Annotated[int, Meta(ge=0)]
PositiveCount = Annotated[int, Meta(ge=1)]
PositiveNumber = Annotated[float, Meta(gt=0)]
NumberFromZero = Annotated[float, Meta(ge=0)]
Decay = Annotated[float, Meta(ge=0, lt=1)]


@dataclass(frozen=True)
class OptimConfig:
    """Adam with L2 added to the gradient, and a learning rate per step (the official `optim_config`)."""

    optimizer: Literal["adam"] = "adam"
    amsgrad: bool = False
    base_lr: PositiveNumber = 1e-4
    lr_min: float = 5e-6
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: NumberFromZero = 1e-4
    scheduler: Literal["cosine", "constant"] = "cosine"

    def __post_init__(self) -> None:
        """Check what the types cannot say."""
        if self.amsgrad:
            raise ValueError('amsgrad: expected "False" (no published recipe uses AMSGrad)')
        if not 0 <= self.lr_min <= self.base_lr:
            raise ValueError(f"lr_min: expected a number from 0 to base_lr, got {self.lr_min}")


@dataclass(frozen=True)
class DataConfig:
    """Where clips come from and how they are fed.

    Attributes:
        layout: the name of a registered reader of data sets (`aasist_jax.data.layouts`), such as `asvspoof2019_la`
            (the published folders under `database_path`) or `csv` (`database_path` names the table). The registry is
            asked when the data set is opened.
        workers: decoding processes; 0 decodes in the training process.
        cache: folder for decoded audio; empty for none.
        on_bad_file: what to do where the check before the first step finds missing or unreadable files.
        corpus: `quickstart` where the data set is to be built first.
    """

    layout: str = "asvspoof2019_la"
    workers: Count = 0
    cache: str = ""
    on_bad_file: Literal["fail", "skip"] = "fail"
    corpus: Literal["", "quickstart"] = ""


@dataclass(frozen=True)
class TrainConfig:
    """How a run proceeds, beyond the published recipe.

    Attributes:
        seed: of the initial parameters, the order of clips and every other random choice.
        cpu_devices: splits a CPU into as many devices, each computing on a core of its own; other backends ignore it.
        dtype: the type computed in; parameters stay float32.
        accumulation: splits each batch into as many equal pieces on every device and sums their gradients (statistics
            of batch normalisation are then those of a piece).
        class_weights: weights of spoof and bona fide in the cross-entropy.
        selection: the rule by which the best epoch is chosen.
        init: weights to start from: a weights folder, or the name of published weights; empty for random ones.
        freeze: patterns (fnmatch, on names such as `encoder/block1/conv1/kernel`) of parameters that stay as they are.
        checkpoint_steps: save the run after as many steps; 0 for never.
        checkpoint_minutes: save the run after as many minutes; 0 for never.
        log_steps: steps from one line of the log to the next.
        log_batches: add the utterances of every logged batch to the log.
        eval_batch_size: clips of a batch while scoring; 0 for the default.
        shuffle_labels: deal out the labels of train and dev at random: a control, in which nothing can be learned.
    """

    seed: Count = 1234
    cpu_devices: PositiveCount = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    accumulation: PositiveCount = 1
    class_weights: tuple[PositiveNumber, PositiveNumber] = (0.1, 0.9)
    selection: Literal["dev", "published"] = "dev"
    init: str = ""
    freeze: tuple[str, ...] = ()
    checkpoint_steps: Count = 0
    checkpoint_minutes: NumberFromZero = 10.0
    log_steps: PositiveCount = 10
    log_batches: bool = False
    eval_batch_size: Count = 0
    shuffle_labels: bool = False


@dataclass(frozen=True)
class ExperimentConfig(Generic[Model]):
    """One experiment. Fields above `data_config` are the official ones and keep their official meaning.

    `model_config` is the frozen type that the architecture registered. `eval_all_best`, `eval_output` and the
    `cudnn_*` switches are read so that the official files load; they change nothing.
    """

    model_config: Model
    optim_config: OptimConfig = field(default_factory=OptimConfig)
    database_path: str = "./LA/"
    asv_score_path: str = ""
    model_path: str = ""
    batch_size: PositiveCount = 24
    num_epochs: PositiveCount = 100
    loss: Literal["CCE"] = "CCE"
    track: Literal["LA", "PA", "DF"] = "LA"
    eval_all_best: bool = True
    eval_output: str = "eval_scores_using_best_dev_model.txt"
    cudnn_deterministic_toggle: bool = True
    cudnn_benchmark_toggle: bool = False
    freq_aug: bool = False
    data_config: DataConfig = field(default_factory=DataConfig)
    train_config: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        """Check what the types cannot say."""
        layout = self.data_config.layout
        # The corpora that we build have the layout of ASVspoof 2019 LA.
        if self.data_config.corpus and layout != "asvspoof2019_la":
            raise ValueError(f'data_config.corpus: expected "" where data_config.layout is "{layout}"')
