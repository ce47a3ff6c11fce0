"""registry_for: what is counted and measured, as Prometheus collects it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from storescp.interfaces import Room
from storescp.uids import VERSION
from storescp.watch.progress import Progress
from storescp.watch.tally import SECONDS, Durations, Kind, Tally, sop_class_label, status_label


def registry_for(
    tally: Tally, progress: Progress, limits: Mapping[str, int], room: Callable[[], Room | None]
) -> CollectorRegistry:
    """Of one Storage SCP and its process; `limits` are those reached, `room` is what was last seen of the disk."""
    registry = CollectorRegistry()
    registry.register(_Collector(tally, progress, limits, room))
    ProcessCollector(registry=registry)
    return registry


class _Collector(Collector):
    # It runs on another thread than what counts. Of each dictionary it takes a copy, which nothing can come in between.

    def __init__(
        self, tally: Tally, progress: Progress, limits: Mapping[str, int], room: Callable[[], Room | None]
    ) -> None:
        self._tally = tally
        self._progress = progress
        self._limits = limits
        self._room = room

    def collect(self) -> Iterator[Metric]:
        yield from self._associations(self._tally)
        yield from self._instances(self._tally)
        yield from self._disk(self._room())
        build = GaugeMetricFamily("storescp_build_info", "The version that runs", labels=["version"])
        build.add_metric([VERSION], 1)
        yield build

    def _associations(self, tally: Tally) -> Iterator[Metric]:
        yield GaugeMetricFamily("storescp_associations_open", "Associations that are open", value=tally.open)
        yield CounterMetricFamily("storescp_associations_accepted", "Associations accepted", value=tally.accepted)
        yield CounterMetricFamily("storescp_associations_released", "Associations released", value=tally.released)
        yield _counter("storescp_associations_rejected", "Associations rejected", ("reason",), _one(tally.rejected))
        yield _counter("storescp_associations_aborted", "Associations aborted", ("cause",), _one(tally.aborted))
        yield _counter(
            "storescp_connections_refused", "Connections ended without an association", ("cause",), _one(tally.refused)
        )
        yield _counter("storescp_limits_reached", "Limits reached, by the option", ("limit",), _one(self._limits))

    def _instances(self, tally: Tally) -> Iterator[Metric]:
        labels, instances, size = ("status", "sop_class"), _labelled(tally.instances), _labelled(tally.bytes)
        yield _counter("storescp_instances", "Instances, by what they were answered", labels, instances)
        # By itself, as a counter that is first seen with its first failure has not gone up for an alert.
        yield CounterMetricFamily("storescp_instances_failed", "Instances that were not stored", value=tally.failed)
        yield _counter("storescp_instance_bytes", "Bytes of their data sets that came whole", labels, size)
        yield _histogram("storescp_receive_seconds", "From the request of an instance to its last byte", tally.receive)
        yield _histogram("storescp_sync_seconds", "From the last byte of an instance until it was safe", tally.sync)
        yield GaugeMetricFamily(
            "storescp_instances_waiting", "Instances received and not yet answered", value=self._progress.waiting
        )

    def _disk(self, room: Room | None) -> Iterator[Metric]:
        if room is not None:
            yield GaugeMetricFamily("storescp_free_bytes", "Bytes free where instances are stored", value=room.free)
            yield GaugeMetricFamily("storescp_size_bytes", "Bytes there are in all", value=room.total)
            yield GaugeMetricFamily(
                "storescp_temporary_files", "Temporary files of instances on their way", value=room.temporary
            )


def _one(counts: Mapping[str, int]) -> dict[tuple[str], int]:
    return {(key,): count for key, count in dict(counts).items()}


def _labelled(counts: dict[Kind, int]) -> dict[tuple[str, str], int]:
    labelled: Counter[tuple[str, str]] = Counter()
    for (status, uid), count in dict(counts).items():
        labelled[status_label(status), sop_class_label(uid)] += count  # a retired class may share a name with another
    return labelled


def _counter(name: str, text: str, labels: Sequence[str], counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in counts.items():  # by the values of the labels
        family.add_metric(key, count)
    return family


def _histogram(name: str, text: str, durations: Durations) -> Metric:
    *within, count = accumulate(durations.counts.copy())
    buckets = [(str(seconds), total) for seconds, total in zip(SECONDS, within, strict=True)]
    family = HistogramMetricFamily(name, text)
    family.add_metric([], [*buckets, ("+Inf", count)], durations.sum)
    return family
