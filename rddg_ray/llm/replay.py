"""Replies from recorded files, and the writing of such files."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rddg_ray.errors import ConfigError, PermanentLLMError, StoreError
from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt, Usage

_ONE_CALL = Usage(n_calls=1)


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded call.

    Attributes:
        prompt: The user message.
        reply: The completion's text.
        phase: The phase that asked, or None where it was not recorded.
        sha256: `Prompt.sha256` of the whole request, or None where it was not recorded.
        model: The model that replied.
        usage: Tokens of the recorded call.
        finish_reason: As in `Completion`.
    """

    prompt: str
    reply: str
    phase: str | None = None
    sha256: str | None = None
    model: str = "replay"
    usage: Usage = _ONE_CALL
    finish_reason: str = "stop"


class ReplayEndpoint:
    """Answers from recordings.

    A prompt gets the reply that was recorded for the same request (by hash), else for the same
    user message. One recorded several times gives its replies in recorded order and then the
    last one again. With `sequence`, a prompt that was never recorded gets the first unused
    reply of its phase: enough to drive a chain with replies made for other prompts.

    Args:
        recordings: In recorded order.
        sequence: Whether prompts that were never recorded are answered by phase.
        source: Named in errors.
    """

    def __init__(
        self, recordings: Iterable[Recording], *, sequence: bool = False, source: str = "recordings"
    ) -> None:
        self._recordings = list(recordings)
        self._source = source
        self._sequence = sequence
        self._used: set[int] = set()
        self._exact: dict[str, deque[int]] = defaultdict(deque)
        self._by_phase: dict[str | None, deque[int]] = defaultdict(deque)
        for position, recording in enumerate(self._recordings):
            self._exact[f"prompt:{recording.prompt}"].append(position)
            if recording.sha256 is not None:
                self._exact[f"sha256:{recording.sha256}"].append(position)
            self._by_phase[recording.phase].append(position)

    @classmethod
    def from_file(cls, path: Path | str, *, sequence: bool = True) -> ReplayEndpoint:
        """Return an endpoint that answers from a JSONL file (see `read_recordings`)."""
        return cls(read_recordings(path), sequence=sequence, source=str(path))

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the recorded reply.

        Raises:
            PermanentLLMError: If nothing recorded answers the prompt.
        """
        position = self._position(prompt)
        if position is None:
            raise PermanentLLMError(
                f"{self._source} holds no reply for the {prompt.phase} prompt "
                f"{prompt.sha256[:16]}...: record the run again with these settings",
                code="not_recorded",
            )
        self._used.add(position)
        found = self._recordings[position]
        return Completion(found.reply, found.model, found.usage, found.finish_reason)

    async def aclose(self) -> None:
        """Do nothing: the file was read whole."""

    def _position(self, prompt: Prompt) -> int | None:
        for key in (f"sha256:{prompt.sha256}", f"prompt:{prompt.user}"):
            positions = self._exact.get(key)
            if positions:
                return positions.popleft() if len(positions) > 1 else positions[0]
        return self._next_of_phase(prompt.phase) if self._sequence else None

    def _next_of_phase(self, phase: str) -> int | None:
        heads = []
        for key in (phase, None):
            queue = self._by_phase[key]
            while queue and queue[0] in self._used:
                queue.popleft()
            heads += list(queue)[:1]
        return min(heads, default=None)


class RecordingEndpoint:
    """Writes every call to a file that `ReplayEndpoint` reads, one line a call.

    Args:
        inner: Where the calls go.
        path: The file; calls are appended, each complete on disk's side before it is returned
            (the file is opened and closed for each).
    """

    def __init__(self, inner: Endpoint, path: Path | str) -> None:
        self._inner = inner
        self._path = Path(path)

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the inner endpoint's reply, once it is written.

        Raises:
            StoreError: If the file cannot be written.
        """
        completion = await self._inner.complete(prompt, call)
        line = json.dumps(_record(prompt, completion), ensure_ascii=False)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(line + "\n")
        except OSError as error:
            raise StoreError(f"{self._path}: cannot record a call: {error.strerror}") from error
        return completion

    async def aclose(self) -> None:
        """Close the inner endpoint."""
        await self._inner.aclose()


def _record(prompt: Prompt, completion: Completion) -> dict[str, Any]:
    return {
        "phase": prompt.phase,
        "sha256": prompt.sha256,
        "system": prompt.system,
        "prompt": prompt.user,
        "reply": completion.text,
        "model": completion.model,
        "finish_reason": completion.finish_reason,
        "usage": asdict(completion.usage),
        "latency_s": completion.latency_s,
    }


def read_recordings(path: Path | str) -> list[Recording]:
    """Read a JSONL file of calls: `prompt` and `reply`, the rest of `Recording` if it is there.

    Raises:
        ConfigError: If the file cannot be read or a line is no call; the message names both.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"endpoint.replay_path: {path} cannot be read: {error}") from error
    lines = enumerate(text.split("\n"), start=1)
    recordings = [_recording(line, f"{path}:{number}") for number, line in lines if line.strip()]
    if not recordings:
        raise ConfigError(f"endpoint.replay_path: {path} holds no recorded call")
    return recordings


def _recording(line: str, place: str) -> Recording:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{place}: not a line of JSON ({error}); delete or repair it") from error
    if not isinstance(content, dict) or not (
        isinstance(content.get("prompt"), str) and isinstance(content.get("reply"), str)
    ):
        raise ConfigError(
            f"{place}: expected the text fields 'prompt' and 'reply', found {line[:100]!r}"
        )
    optional = ("phase", "sha256", "model", "finish_reason")
    known: dict[str, Any] = {key: content[key] for key in optional if content.get(key)}
    usage = content.get("usage")
    if isinstance(usage, dict):
        counts = {key: usage.get(key) for key in Usage.__dataclass_fields__}
        known["usage"] = Usage(**{k: v for k, v in counts.items() if isinstance(v, int)})
    return Recording(content["prompt"], content["reply"], **known)
