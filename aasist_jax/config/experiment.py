"""The types of an experiment configuration: frozen dataclasses. The type of a number includes its allowed range."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal

from msgspec import Meta
from typing_extensions import TypeVar

Model = TypeVar("Model", default=Any)

Count = Annotated[int, Meta(ge=0)]
PositiveCount = Annotated[int, Meta(ge=1)]
PositiveNumber = Annotated[float, Meta(gt=0)]
NumberFromZero = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Decay = Annotated[float, Meta(ge=0, lt=1)]


@dataclass(frozen=True)
class OptimConfig:
    """Adam with L2 added to the gradient, and a learning rate per step (the official `optim_config`).

    `rates` are pairs of a pattern of parameters, in the syntax of `fnmatch` as in `TrainConfig.freeze`, and a factor of
    their learning rate; the first pattern that matches counts.
    """

    optimizer: Literal["adam"] = "adam"
    amsgrad: bool = False
    base_lr: PositiveNumber = 1e-4
    lr_min: float = 5e-6
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: NumberFromZero = 1e-4
    scheduler: Literal["cosine", "constant"] = "cosine"
    rates: tuple[tuple[str, PositiveNumber], ...] = ()

    def __post_init__(self) -> None:
        """Check what the types cannot express."""
        if self.amsgrad:
            raise ValueError('amsgrad: expected "False" (no published recipe uses AMSGrad)')
        if not 0 <= self.lr_min <= self.base_lr:
            raise ValueError(f"lr_min: expected a number from 0 to base_lr, got {self.lr_min}")


@dataclass(frozen=True)
class DataConfig:
    """Where clips come from and how they are read.

    Attributes:
        layout: name of a module in `aasist_jax.data.layouts`, such as `asvspoof2019_la` (`database_path` is a folder
            in the published layout) or `csv` (`database_path` is a table). The name is checked only when the data set
            is opened.
        workers: number of decoding processes; 0 decodes in the training process.
        cache: folder for decoded audio; empty for no cache.
        on_bad_file: what to do if the check before the first step finds missing or unreadable files: end with an
            error, or train without them.
        bonafide_is: which label of a table means bona fide, such as 1, where labels are numbers and no name of a column
            says it.
        corpus: `quickstart` builds the small corpus of `aasist_jax.corpus` in `database_path` before training, unless
            it is there already, and scores two of its clips at the end; empty uses the data set as it is.
        augmentation: what is done to training clips, in this order: objects with the `kind` of one file in
            `aasist_jax.augmentation`, its `probability` and its own settings, or `one_of`, a list of such objects.
        features: folder for what a frozen encoder computes of each clip, so that only the rest of the network is
            computed in training; empty to compute it anew in every epoch. Needs a model whose encoder is not trained.
        augmented_versions: with `features`, how many versions of each training clip are stored, each with a crop and
            augmentation of its own; the epochs take them in turn.
    """

    layout: str = "asvspoof2019_la"
    workers: Count = 0
    cache: str = ""
    on_bad_file: Literal["fail", "skip"] = "fail"
    bonafide_is: str | int | None = None
    corpus: Literal["", "quickstart"] = ""
    augmentation: tuple[Any, ...] = ()
    features: str = ""
    augmented_versions: PositiveCount = 1

    def __post_init__(self) -> None:
        """Check what the types cannot express."""
        if self.augmented_versions > 1 and not self.features:
            raise ValueError("augmented_versions: expected 1 without features, since every epoch then has new ones")


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training run that the official configurations do not have.

    Attributes:
        seed: seed of all random choices: the initial parameters, the order of the clips, crops and dropout.
        cpu_devices: number of virtual devices that a CPU is split into; other backends ignore it.
        dtype: the type in which the network computes; parameters stay float32.
        accumulation: number of equal parts that a device splits its share of a batch into. Their gradients are summed;
            batch statistics are those of a part.
        class_weights: weights of spoof and bona fide in the cross-entropy.
        balance: what is equally frequent in an epoch, see `aasist_jax.data.sampling.make_draw`; with `class`, the
            class weights are best left equal.
        pairs: fill half of each batch with bona fide clips and the other half with copies of exactly these, both
            augmented and cropped with the same random numbers.
        held_out_systems: systems (attacks) that are left out of training, and the only ones of dev that weights are
            selected on, beside all bona fide clips.
        folds: hold out every so many of the systems that both train and dev have, as one run of a cross-validation;
            0 for none.
        fold: which of the folds is held out, from 0.
        ema: decay per step of an exponential moving average of the parameters, such as 0.999, which is then one of the
            candidates for the final weights; 0 for none.
        patience: epochs without a lower EER on dev after which training ends early; 0 for never.
        selection: how the final weights are chosen, see `aasist_jax.training.selection`.
        init: weights to start from: a weights folder, or the name of published weights; for a model on a pretrained
            encoder also a file of the encoder alone, or its name; empty for random weights.
        teacher: weights whose probabilities are learnt beside the labels: a weights folder, or the name of published
            weights; empty for none.
        teacher_weight: share of the loss that the teacher has, see `aasist_jax.training.distillation`.
        freeze: patterns of parameters that are not trained, in the syntax of `fnmatch`; they are matched against names
            such as `encoder/block1/conv1/kernel`.
        checkpoint_steps: steps between checkpoints; 0 for no checkpoints by steps.
        checkpoint_minutes: minutes between checkpoints; 0 for no checkpoints by time.
        log_steps: steps between lines of the log.
        log_batches: whether the log lists the utterances of each logged batch.
        eval_batch_size: batch size for scoring dev and eval; 0 for the default.
        shuffle_labels: shuffle the labels of train and dev, as a control experiment in which nothing can be learnt.
        score_eval: whether the eval split, where there is one, is scored with the final weights; not for one run of
            many of which the best is chosen.
    """

    seed: Count = 1234
    cpu_devices: PositiveCount = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    accumulation: PositiveCount = 1
    class_weights: tuple[PositiveNumber, PositiveNumber] = (0.1, 0.9)
    balance: tuple[Literal["class", "system", "speaker"], ...] = ()
    pairs: bool = False
    held_out_systems: tuple[str, ...] = ()
    folds: Count = 0
    fold: Count = 0
    ema: Decay = 0.0
    patience: Count = 0
    selection: Literal["dev", "published"] = "dev"
    init: str = ""
    teacher: str = ""
    teacher_weight: Share = 0.5
    freeze: tuple[str, ...] = ()
    checkpoint_steps: Count = 0
    checkpoint_minutes: NumberFromZero = 10.0
    log_steps: PositiveCount = 10
    log_batches: bool = False
    eval_batch_size: Count = 0
    shuffle_labels: bool = False
    score_eval: bool = True

    def __post_init__(self) -> None:
        """Check what the types cannot express."""
        if self.selection == "published" and not self.score_eval:
            raise ValueError("score_eval: expected true with the published selection, which chooses on eval")
        if self.folds == 1:
            raise ValueError("folds: expected 2 or more, or 0 for none, got 1")
        if self.fold >= max(self.folds, 1):
            raise ValueError(f"fold: expected an integer below folds, {self.folds}, got {self.fold}")
        if self.folds and self.held_out_systems:
            raise ValueError("folds: expected 0 where held_out_systems names the systems")
        if self.selection == "published" and (self.folds or self.held_out_systems):
            raise ValueError('selection: expected "dev" where systems are held out of training')
        if self.selection == "published" and (self.ema or self.patience):
            raise ValueError('selection: expected "dev" with ema or patience, which the published procedure lacks')
        if self.pairs and self.shuffle_labels:
            raise ValueError("pairs: expected false where shuffle_labels is true, since a pair has one label of each")
        if self.pairs and "class" in self.balance:
            raise ValueError('balance: expected no "class" where pairs is true, since pairs are balanced already')


@dataclass(frozen=True)
class ExperimentConfig(Generic[Model]):
    """One experiment. Fields above `data_config` have the names and the meaning of the official configurations.

    `model_config` is an instance of the `config_type` of its family. `eval_all_best`, `eval_output`, `model_path` and
    the `cudnn_*` fields are accepted so that the official files can be read; they have no effect.
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
        """Check what the types cannot express."""
        layout = self.data_config.layout
        # The corpora that we build have the layout of ASVspoof 2019 LA.
        if self.data_config.corpus and layout != "asvspoof2019_la":
            raise ValueError(f'data_config.corpus: expected "" where data_config.layout is "{layout}"')
        if self.train_config.pairs and self.batch_size % 2:
            raise ValueError(
                f"batch_size: expected an even number where train_config.pairs is true, got {self.batch_size}"
            )
