from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from segx_serve.channel import Channel

Talk = Callable[[Channel, Channel], Awaitable[Any]]


def talk(what: Talk) -> Any:
    """Two ends of a channel in one loop."""

    async def main() -> Any:
        left, right = socket.socketpair()
        ours, theirs = await Channel.over(left), await Channel.over(right)
        try:
            return await asyncio.wait_for(what(ours, theirs), 30)
        finally:
            await ours.end()
            await theirs.end()

    return asyncio.run(main())


async def collect(channel: Channel) -> list[Any]:
    return [message async for message in channel]


def test_what_is_said_arrives_in_order_until_the_end() -> None:
    async def what(ours: Channel, theirs: Channel) -> list[Any]:
        listening = asyncio.create_task(collect(theirs))
        for number in range(100):
            await ours.send({"type": "news", "number": number, "text": "ü\n\x00" * number})
        await ours.end()
        return await listening

    came = talk(what)
    assert [one["number"] for one in came] == list(range(100))
    assert came[3]["text"] == "ü\n\x00" * 3


def test_answers_find_their_questions_in_any_order() -> None:
    async def what(ours: Channel, theirs: Channel) -> list[Any]:
        async def other() -> None:
            questions = []
            async for message in theirs:
                questions.append(message)
                if len(questions) == 3:
                    for question in reversed(questions):
                        await theirs.answer(question, {"double": 2 * question["number"]})

        other_side, hearing = asyncio.create_task(other()), asyncio.create_task(collect(ours))
        answers = await asyncio.gather(*(ours.ask({"type": "q", "number": n}, 30) for n in range(3)))
        await theirs.end()
        await ours.end()
        await asyncio.gather(other_side, hearing)
        return answers

    assert [one["double"] for one in talk(what)] == [0, 2, 4]


def test_a_question_that_nobody_answers_is_given_up_and_a_late_answer_is_harmless() -> None:
    async def what(ours: Channel, theirs: Channel) -> list[Any]:
        hearing = asyncio.create_task(collect(ours))
        with pytest.raises(TimeoutError):
            await ours.ask({"type": "q"}, 0.01)
        question = await theirs.first()
        await theirs.answer(question, {"late": True})
        await theirs.send({"type": "news"})
        await theirs.end()
        return await hearing

    assert talk(what) == [{"type": "news"}]


def test_open_questions_end_with_the_other_side() -> None:
    async def what(ours: Channel, theirs: Channel) -> None:
        hearing = asyncio.create_task(collect(ours))
        asking = asyncio.create_task(ours.ask({"type": "q"}, 30))
        await theirs.first()
        await theirs.end()
        with pytest.raises(ConnectionError):
            await asking
        assert await hearing == []
        assert ours.closed
        with pytest.raises(ConnectionError):
            await ours.ask({"type": "q"}, 30)
        await ours.send({"type": "news"})  # harmless

    talk(what)


def test_a_question_asked_after_the_end_does_not_wait_for_its_timeout() -> None:
    async def what(ours: Channel, theirs: Channel) -> None:
        hearing = asyncio.create_task(collect(ours))
        await theirs.end()
        with pytest.raises(ConnectionError):
            await ours.ask({"type": "q"}, 3600)
        await hearing

    talk(what)


def test_the_end_without_a_word_is_told() -> None:
    async def what(ours: Channel, theirs: Channel) -> None:
        await theirs.end()
        with pytest.raises(ConnectionError, match="without a word"):
            await ours.first()

    talk(what)


def test_a_line_cut_off_by_the_end_is_no_message() -> None:
    async def main() -> list[Any]:
        left, right = socket.socketpair()
        left.sendall(b'{"type": "news"}\n{"type": "ne')
        left.close()
        channel = await Channel.over(right)
        came = await collect(channel)
        await channel.end()
        return came

    assert asyncio.run(main()) == [{"type": "news"}]


def test_a_long_message_passes() -> None:
    async def what(ours: Channel, theirs: Channel) -> Any:
        first = asyncio.create_task(theirs.first())
        await ours.send({"type": "table", "text": "x" * 5_000_000})
        return await first

    assert len(talk(what)["text"]) == 5_000_000
