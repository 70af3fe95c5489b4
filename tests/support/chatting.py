"""Short ways to ask a mock teacher many questions, and a program that does so until it is killed."""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from mmevol_core.chat import Chat, ChatFailure, ChatStats, Endpoint, Reply, run, user
from mmevol_core.errors import UserError
from mmevol_core.journal import Journal


def endpoint(base_url: str, **settings) -> Endpoint:
    return Endpoint(**{"base_url": base_url, "model": "mock", "concurrency": 32, **settings})


def ask_all(
    end: Endpoint, journal: Path, questions: Iterable[str], api_key: str | None = None
) -> tuple[dict[str, Reply | ChatFailure], ChatStats]:
    """Each question's reply or failure."""

    async def work() -> tuple[dict[str, Reply | ChatFailure], ChatStats]:
        async with Chat(end, store, api_key) as chat:

            async def one(question: str) -> Reply | ChatFailure:
                try:
                    return await chat.ask([user(question)])
                except ChatFailure as failure:
                    return failure

            return {q: r async for q, r in run(questions, one, chat.rows_in_flight)}, chat.stats

    with Journal(journal) as store:
        return asyncio.run(work())


def numbered(count: int) -> list[str]:
    return [f"What is in picture {number}?" for number in range(count)]


if __name__ == "__main__":  # BASE_URL JOURNAL COUNT CONCURRENCY [LARGEST FILE IN BYTES]
    url, path, count, concurrency, *largest = sys.argv[1:]
    if largest:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest[0]), int(largest[0])))
    try:
        replies, stats = ask_all(endpoint(url, concurrency=int(concurrency)), Path(path), numbered(int(count)))
    except UserError as error:
        sys.exit(f"error: {error}")
    print(len(replies), stats.cached)
