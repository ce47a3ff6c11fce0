"""Telling observers, so that none of them can harm an association."""

from collections.abc import Callable, Iterable, Iterator

from twisted.logger import Logger

from storescp.interfaces import Association, AssociationObserver, IAssociationObserver

_log = Logger()


class Observers:
    """Passes each event on to all observers; what one of them raises is logged the first time."""

    def __init__(self, observers: Iterable[IAssociationObserver]) -> None:
        self._observers = tuple(observers)
        self._listening: dict[str, tuple[tuple[IAssociationObserver, Callable[..., object]], ...]] = {}
        self._logged: set[tuple[int, str]] = set()

    def tell(self, event: str, *arguments: object) -> None:
        """Call the method `event` of `IAssociationObserver` on each."""
        if event not in self._listening:
            self._listening[event] = tuple(self._who_listens(event))
        for observer, method in self._listening[event]:
            try:
                method(*arguments)
            except Exception:
                self._log_once(observer, event, arguments[0])

    def _who_listens(self, event: str) -> Iterator[tuple[IAssociationObserver, Callable[..., object]]]:
        # To call who does not listen would cost as much as to call who does, at each step of each instance.
        for observer in self._observers:
            method = getattr(observer, event, None)
            if method is None:
                yield observer, _missing(observer, event)
            elif getattr(method, "__func__", None) is not getattr(AssociationObserver, event):
                yield observer, method

    def _log_once(self, observer: IAssociationObserver, event: str, about: object) -> None:
        if (id(observer), event) not in self._logged:
            self._logged.add((id(observer), event))
            association = about.id if isinstance(about, Association) else None
            _log.failure(
                "The observer {observer!r} failed at {event}", observer=observer, event=event, association=association
            )


def _missing(observer: IAssociationObserver, event: str) -> Callable[..., object]:
    """In the place of a method that an observer lacks, which is worth a line in the log, too."""
    return lambda *_arguments: getattr(observer, event)
