"""A child without torch, for the tests of worker.child: starts in a moment, and computes forever when asked to."""

from collections.abc import Generator

from worker.child import serve


def spin() -> None:
    while True:
        pass


def refuse(kind: str) -> None:
    raise {"ValueError": ValueError, "OSError": OSError}[kind]("as asked")


def chatter() -> str:
    print("this is not an answer")
    return "an answer"


def count(to: int) -> Generator[int, None, str]:
    for number in range(to):
        if number == 3:
            raise ValueError("three is too many")
        yield number
    return "counted"


if __name__ == "__main__":
    serve({"hello": lambda: "hello", "spin": spin, "refuse": refuse, "chatter": chatter, "count": count})
