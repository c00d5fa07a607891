"""Every setting, typed, in one tree; read from YAML and the command line, and checked."""

from genrec.config.schema import (
    HOW,
    Columns,
    Config,
    DataConfig,
    DecodingConfig,
    EmbeddingConfig,
    EvaluationConfig,
    ExpertsConfig,
    ModelConfig,
    TokenizerConfig,
    TrainingConfig,
)

__all__ = [
    "HOW",
    "Columns",
    "Config",
    "DataConfig",
    "DecodingConfig",
    "EmbeddingConfig",
    "EvaluationConfig",
    "ExpertsConfig",
    "ModelConfig",
    "TokenizerConfig",
    "TrainingConfig",
]
