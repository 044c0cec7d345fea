"""What a plan will take, from a few real steps of every distinct model under the sweep's own load."""

from __future__ import annotations

import hashlib
import heapq
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avq.design.plan import Plan, Run
from avq.errors import AvqError
from avq.execution.events import Event, OnEvent
from avq.execution.local import call_all
from avq.files import read_json, write_json
from avq.machine import machine_name
from avq.metrics.weights import named_folder
from avq.store.assembly import cost_path
from avq.store.layout import Store
from avq.store.record import canonical
from avq.tasks import tune
from avq.tasks.job import Job, build_model, is_finished, is_trained, measures_now, prepare

if TYPE_CHECKING:
    from torch import Tensor, nn

_START_SERVER = 4.0  # importing torch once, s
_START_PROCESS = 0.5
_LEAST_STEPS, _LEAST_SECONDS = 4, 1.0
_QUIET_CALLS = 7  # two to warm up, five timed
_QUIET_COUNTS = 0.5  # counting parameters, MACs and receptive fields, s
_UNKNOWN_IMAGES = 2000

CallAll = Callable[[Callable[[Job], Any], Sequence[Job], Sequence[str]], Generator[Any, None, None]]


@dataclass(frozen=True)
class ModelCost:
    """What one model takes, measured beside as many others as there are workers. Seconds and MiB.

    `state` is that of a training in mid-course: all its modules and their optimisers' moments.
    """

    setup: float
    step: float
    image: float
    memory: float
    weights: float
    state: float


@dataclass(frozen=True)
class Prediction:
    """What a plan will take.

    Attributes:
        seconds: until everything is done, quiet pass included.
        memory: MiB at once, of the workers that need the most.
        disk: MiB that the store will grow by at most while it works.
        plan: the plan, with the learning rates that finished trials chose.
        runs: seconds of every run that is still to be done, by its name in `plan`; trials of learning rates among
            them.
        evaluated: those of `runs` that are trained, and only to be measured again.
        untuned: labels of rows whose learning rate trials have yet to choose, and with it their runs' names.
        finished: runs that are there already, trials not counted.
        workers: runs at once.
    """

    seconds: float
    memory: float
    disk: float
    plan: Plan
    runs: Mapping[str, float]
    evaluated: frozenset[str]
    untuned: frozenset[str]
    finished: int
    workers: int


def predict(
    plan: Plan,
    store: Store,
    *,
    data_root: Path | None,
    device: str,
    devices: Sequence[str],
    plugins: Sequence[str] = (),
    on_event: OnEvent = lambda _event: None,
) -> Prediction:
    """Measure what is not measured yet (kept in the store), and add up.

    Where learning rates are tuned and the trials are finished, the runs are those with the chosen rates.

    Args:
        devices: one per worker, as `execute.slots` gives them.

    Raises:
        AvqError: a model cannot even take a step here; the line says why.
    """
    store.prepare()
    measures = measures_now()
    trials = tune.trials(plan)
    short = [run for run in tune.distinct(trials) if not is_finished(store, run, measures)]
    untuned = any(not store.finished(run) for run in tune.distinct(trials))
    final = plan if untuned else tune.tuned(plan, tune.chosen(trials, store))
    long = [run for run in final.runs if not is_finished(store, run, measures)]
    todo = list(dict.fromkeys([*short, *long]))
    weights = named_folder()
    jobs = [Job(run, store.root, data_root, device, measures, tuple(plugins), weights_dir=weights) for run in todo]
    machine = machine_name(device)
    measure(jobs, store, machine, devices, on_event)
    models = {job.run.model_id: job for job in jobs}
    paths = {job.run: _paths(store, job.run, machine, len(devices)) for job in jobs}
    cost = {name: ModelCost(**read_json(paths[job.run][0])) for name, job in models.items()}
    loading = {path: read_json(path) for _, path in paths.values()}
    seconds, memory = {}, []
    for run in todo:
        images = loading[paths[run][1]]
        begun = _START_PROCESS + float(images["seconds"])
        seconds[run.name] = begun + run_seconds(run, cost[run.model_id], is_trained(store, run))
        memory.append(_together(cost[run.model_id].memory, images))
    total = schedule(list(seconds.values()), [0.0] * len(devices))
    unknown = {cost_path(store, job.run, machine): job.run for job in models.values()}
    quiet = sum(_quiet_seconds(run, cost[run.model_id]) for path, run in unknown.items() if not path.exists())
    sizes = [cost[run.model_id].weights for run in todo]
    states = [cost[run.model_id].state for run in todo]
    return Prediction(
        seconds=total + quiet + _START_SERVER if todo else 0.0,
        memory=sum(sorted(memory, reverse=True)[: len(devices)]),
        disk=sum(sizes) + sum(sorted(states, reverse=True)[: len(devices)]) + 0.5 * len(todo),
        plan=final,
        runs=seconds,
        evaluated=frozenset(run.name for run in todo if is_trained(store, run)),
        untuned=frozenset(trials) if untuned else frozenset(),
        finished=len(final.runs) - len(long),
        workers=len(devices),
    )


def run_seconds(run: Run, cost: ModelCost, trained: bool = False) -> float:
    """One run's time, without its start and the loading of its images; of a `trained` one, that of its evaluation."""
    validation, test = _split_sizes(run)
    if trained:
        return test * cost.image
    steps = 0 if cost.step == 0 else int(run.train["steps"])
    points = -(-steps // int(run.train["validate_every"]))
    return cost.setup + steps * cost.step + (points * validation + test) * cost.image


def _split_sizes(run: Run) -> tuple[int, int]:
    from avq.data.config import DataConfig
    from avq.data.fingerprint import resolve

    data = resolve(DataConfig(**run.data))
    return data.validation_images or _UNKNOWN_IMAGES, data.test_images or _UNKNOWN_IMAGES


def _quiet_seconds(run: Run, cost: ModelCost) -> float:
    return _START_PROCESS + _QUIET_COUNTS + _QUIET_CALLS * (cost.step + cost.image * int(run.train["batch_size"]))


def schedule(durations: Sequence[float], loads: Sequence[float]) -> float:
    """When the last of `durations` ends, given in order to whichever worker is free first.

    Args:
        durations: seconds.
        loads: seconds for which each worker is busy already.
    """
    workers = list(loads)
    heapq.heapify(workers)
    for seconds in durations:
        heapq.heapreplace(workers, workers[0] + seconds)
    return max(workers)


def measure(
    jobs: Sequence[Job],
    store: Store,
    machine: str,
    devices: Sequence[str],
    on_event: OnEvent,
    call: CallAll | None = None,
) -> None:
    """Measure of every distinct model, and of every distinct set of images, what the store does not hold yet.

    Args:
        machine: whose measurements count, as `machine_name` gives it.
        call: gives the result of every job in a process of its own; `execute.call_all` by default.

    Raises:
        AvqError: a model cannot even take a step here; the line says why.
    """
    paths = [(_paths(store, job.run, machine, len(devices)), job) for job in jobs]
    _measure({model: job for (model, _), job in paths}, measure_model, devices, on_event, call or call_all)
    _measure({images: job for (_, images), job in paths}, measure_loading, devices, on_event, call or call_all)


def memory(store: Store, run: Run, machine: str, workers: int) -> float | None:
    """MiB of main memory that a run takes at its peak, as `measure` found; None where it was not measured."""
    model, images = (read_json(path) for path in _paths(store, run, machine, workers))
    return _together(float(model["memory"]), images) if model and images else None


def model_cost(store: Store, run: Run, machine: str, workers: int) -> ModelCost | None:
    """What `measure` found of a run's model; None where it was not measured."""
    found = read_json(_paths(store, run, machine, workers)[0])
    return ModelCost(**found) if found else None


def _together(model: float, images: Mapping[str, Any]) -> float:
    """MiB of a model at work and the images that it is given, or of these while they are loaded."""
    return max(model + float(images.get("held", 0.0)), float(images["memory"]))  # older measurements lack `held`


def _paths(store: Store, run: Run, machine: str, workers: int) -> tuple[Path, Path]:
    """Where the measurements of a run's model and of the loading of its images lie."""
    names = (f"model {run.model_id}", f"images {canonical([dict(run.data), run.fingerprint])}")
    hashes = (hashlib.sha256(f"{name} {machine} {workers}".encode()).hexdigest()[:16] for name in names)
    model, images = (store.costs / f"prediction-{name}.json" for name in hashes)
    return model, images


def _measure(
    jobs: Mapping[Path, Job],
    function: Callable[[Job], dict[str, float]],
    devices: Sequence[str],
    on_event: OnEvent,
    call: CallAll,
) -> None:
    missing = {path: job for path, job in jobs.items() if not path.exists()}
    if not missing:
        return
    count = f"{len(missing)} {'models' if function is measure_model else 'datasets'}"
    on_event(Event("message", text=f"measuring {count}, {len(devices)} at once"))
    # Filled up, so that the last ones too are measured beside others.
    items = list(missing.items())
    filled = [items[index % len(items)] for index in range(-(-len(items) // len(devices)) * len(devices))]
    with closing(call(function, [job for _, job in filled], devices)) as results:
        for (path, job), result in zip(items, results, strict=False):
            if isinstance(result, AvqError):
                raise AvqError(f"{job.run.variant} cannot run here: {result}")
            write_json(path, result)


def measure_model(job: Job) -> dict[str, float]:
    """In a worker's process: the seconds and MiB of `ModelCost`, from a few steps on random images."""
    import torch

    from avq.data.loader import EVALUATION_PIXELS, images_within, to_model
    from avq.profiling.memory import peak_memory
    from avq.training.allocator import give_freed_memory_back
    from avq.training.config import TrainConfig
    from avq.training.step import TrainStep
    from avq.training.trainer import CODEBOOK_PIXELS

    prepare(job)
    run = job.run
    size, batch_size = run.image_size, int(run.train["batch_size"])
    one = torch.empty(1, size, size, 3)
    initial, evaluated = images_within(CODEBOOK_PIXELS, one), images_within(EVALUATION_PIXELS, one)
    images = torch.randint(256, (max(initial, evaluated), size, size, 3), dtype=torch.uint8)
    begun = time.perf_counter()
    model = build_model(run).to(job.device)
    step_seconds, modules = 0.0, [model]
    if model.is_baseline:
        model.fit(images, 0)
        setup = time.perf_counter() - begun
    else:
        config = TrainConfig(**run.train)
        step = TrainStep(model, config, job.device)
        modules = list(step.modules.values())
        model.initialise_codebooks(to_model(images[:initial], job.device))
        setup = time.perf_counter() - begun
        batch = images[torch.arange(batch_size) % len(images)]
        step_seconds = _seconds_of(lambda: step(batch, config.steps - 1).item())
    give_freed_memory_back()  # as before a run's evaluation
    model.to(job.device).eval()
    some = images[:evaluated]
    with torch.no_grad():
        image = _seconds_of(lambda: model(to_model(some, job.device)).images.sum().item()) / len(some)
    weights = _mebibytes(model)
    state = 3 * sum(_mebibytes(module) for module in modules)
    cost = ModelCost(setup, step_seconds, image, peak_memory("cpu"), weights, state)
    return asdict(cost)


def _mebibytes(module: nn.Module) -> float:
    tensors: list[Tensor] = list(module.state_dict().values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 2**20


def _seconds_of(call: Callable[[], Any]) -> float:
    call()
    call()
    begun, count = time.perf_counter(), 0
    while count < _LEAST_STEPS or time.perf_counter() - begun < _LEAST_SECONDS:
        call()
        count += 1
    return (time.perf_counter() - begun) / count


def measure_loading(job: Job) -> dict[str, float]:
    """In a worker's process: the seconds that the run's images take to load, the MiB at their peak, and those kept."""
    from avq.data.config import DataConfig
    from avq.data.sources import load_dataset
    from avq.profiling.memory import peak_memory

    begun = time.perf_counter()
    data = load_dataset(DataConfig(**job.run.data), job.data_root)
    seconds = time.perf_counter() - begun
    held = sum(split.images.nbytes for split in (data.train, data.validation, data.test)) / 2**20
    return {"seconds": seconds, "memory": peak_memory("cpu"), "held": held}
