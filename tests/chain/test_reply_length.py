"""The cap on a reply's tokens, learned from replies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rddg_ray.exchange import Completion, Usage
from rddg_ray.reply_length import ReplyLengths, Told


def told(
    n_tokens: int, finish_reason: str = "stop", n_requested: int = 30, n_found: int = 30
) -> Told:
    completion = Completion("rows", "m", Usage(1, 100, n_tokens), finish_reason)
    return Told(n_requested, n_found, completion)


def after(*replies: Told) -> ReplyLengths:
    lengths = ReplyLengths()
    for reply in replies:
        lengths = lengths.after([reply])
    return lengths


def test_nothing_is_capped_before_five_replies_were_seen() -> None:
    assert [after(*[told(900)] * n).cap(30) for n in range(6)] == [None] * 5 + [1800]


def test_a_round_of_many_replies_counts_as_many() -> None:
    at_once = ReplyLengths().after([told(n) for n in (900, 950, 910, 880, 940)])
    assert at_once == after(*[told(n) for n in (900, 950, 910, 880, 940)])


def test_alike_replies_are_capped_at_twice_the_longest() -> None:
    # The longest lies 34 above the mean of 916, eight times of which is less than 950.
    assert after(*[told(n) for n in (900, 950, 910, 880, 940)]).cap(30) == 1900


def test_replies_that_scatter_are_given_room_by_how_far_the_longest_lies_above_the_mean() -> None:
    # As hidden reasoning does: the mean is 1,720, the longest lies 1,280 above it.
    scattered = after(*[told(n) for n in (1000, 1200, 1400, 2000, 3000)])
    assert scattered.cap(30) == 3000 + 8 * 1280


def test_a_cap_grows_with_the_rows_asked_for_and_never_shrinks_with_them() -> None:
    seen = after(*[told(900, n_requested=30)] * 5)
    assert (seen.cap(60), seen.cap(30), seen.cap(2)) == (3600, 1800, 1800)


def test_short_replies_leave_a_least_cap() -> None:
    assert after(*[told(9, n_requested=1, n_found=1)] * 5).cap(1) == 256


@pytest.mark.parametrize(
    "odd",
    [
        told(0),
        told(5, n_found=0),
        told(300, n_found=14),
        told(40, "content_filter"),
        told(40, "length"),
        told(40, "error"),
    ],
)
def test_replies_that_are_not_whole_or_not_counted_teach_nothing(odd: Told) -> None:
    assert after(odd) == ReplyLengths()


def test_half_of_the_rows_make_a_usual_reply() -> None:
    assert after(told(450, n_found=15)).n_replies == 1


def test_a_cap_that_cut_a_reply_is_doubled_once_a_round_and_three_times_at_most() -> None:
    lengths = after(*[told(900)] * 5)
    caps = []
    for _ in range(5):
        caps.append(lengths.cap(30))
        lengths = lengths.after([told(1800, "length"), told(1800, "length")])
    assert caps == [1800, 3600, 7200, 14400, 14400]


def test_a_raised_cap_stays_raised() -> None:
    lengths = after(*[told(900)] * 5, told(1800, "length"), told(900))
    assert lengths.cap(30) == 3600


def test_a_reply_cut_by_a_cap_of_the_server_s_own_raises_none_of_ours() -> None:
    lengths = after(told(4096, "length"), *[told(900)] * 5)
    assert lengths == replace(after(*[told(900)] * 5))
