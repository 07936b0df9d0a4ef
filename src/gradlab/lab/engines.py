"""Which engine trains each experiment: settled once, before anything is written, and restored when a run is resumed.

"auto" is compiled wherever Numba is installed and knows every part, however small the experiment. The last bits of a
number depend on the engine: so a settled experiment names it, and the key of its files depends on it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from gradlab.lab.build import blank_network, build_loss, build_optimizer
from gradlab.lab.schema import Config, Experiment
from gradlab.training.engines import NAMES, EngineError, compiled, why_not
from gradlab.training.penalties import Penalties


def settle(config: Config) -> tuple[Config, list[str]]:
    """Choose the engine of each experiment that leaves it open.

    Returns
    -------
    config : Config
        Each experiment has "plain" or "compiled".
    remarks : list of str
        Why some are plain although Numba is installed, one line per reason.

    Raises
    ------
    EngineError
        If "compiled" is asked for by name and cannot be used.
    """
    asked = engines_of(config)
    may_be_compiled = ("compiled", "auto") if compiled.is_installed() else ("compiled",)
    reasons = _reasons(e for e in config.experiments if e.training.engine in may_be_compiled)
    for name, reason in reasons.items():
        if reason and asked[name] == "compiled":
            raise EngineError(f"engine: 'compiled' cannot be used: {reason}")
    settled = {name: "compiled" if reasons.get(name) == "" else "plain" for name in asked}
    remarks = [f"the plain engine is used: {reason}" for reason in dict.fromkeys(reasons.values()) if reason]
    return _with_engines(config, settled), remarks


def restore(config: Config, begun: Any) -> Config:
    """Give each experiment the engine that a run was begun with.

    Parameters
    ----------
    config : Config
    begun : mapping of str to str
        What `engines_of` returned then.

    Raises
    ------
    ValueError
        If it is not a mapping from the experiments to engines that they may have.
    """
    asked = engines_of(config)
    if not isinstance(begun, Mapping) or begun.keys() != asked.keys():
        raise ValueError("it does not name the engine of each experiment")
    for name, engine in begun.items():
        if engine not in NAMES or asked[name] not in ("auto", engine):
            raise ValueError(f"{engine!r} cannot be the engine of {name}")
    return _with_engines(config, begun)


def check_available(config: Config) -> None:
    """Raise EngineError if a run was begun with an engine that cannot be used here."""
    for reason in _reasons(e for e in config.experiments if e.training.engine == "compiled").values():
        if reason:
            raise EngineError(f"engine: the run was begun with 'compiled', which cannot be used: {reason}")


def engines_of(config: Config) -> dict[str, str]:
    """Return the engine of each experiment, by its name."""
    return {experiment.name: experiment.training.engine for experiment in config.experiments}


def _with_engines(config: Config, names: Mapping[str, str]) -> Config:
    """Return the configuration with an engine for each experiment; what it resolves to in a file stays as it was."""
    changed = []
    for experiment in config.experiments:
        training = experiment.training.model_copy(update={"engine": names[experiment.name]})
        changed.append(experiment.model_copy(update={"training": training}))
    return config.model_copy(update={"experiments": tuple(changed)})


def _reasons(experiments: Iterable[Experiment]) -> dict[str, str]:
    """Say of each experiment why it cannot be compiled, empty if it can; equal parts are looked at once."""
    reasons, found = {}, dict[Any, str]()
    for experiment in experiments:
        training, widths = experiment.training, experiment.network.widths
        small = experiment.network.model_copy(update={"width": (1,) * len(widths)})  # the same layers, in no memory
        parts = small, training.loss, training.optimizer
        if parts not in found:
            network, penalties = blank_network(small, 1), Penalties(training.l1, training.l2, 0.0, training.clip_norm)
            found[parts] = why_not(network, build_loss(training), build_optimizer(training, network), penalties)
        reasons[experiment.name] = found[parts]
    return reasons
