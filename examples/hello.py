"""Hello: the smallest service that shows a task, a step and a subtask.

Run it with `dama run hello.greet --name Ada` or `python -m examples.hello greet --name Ada`.
"""

from dama import Service, Task

hello = Service("hello")


@hello.task
async def greet(task: Task, name: str = "world") -> str:
    """Greet somebody, and count the letters on the way.

    Args:
        name: Who is greeted.
    """
    greeting = await task.step("write", write_greeting, name)
    letters = await task.run(count, {"text": greeting})
    return f"{greeting} ({letters} letters)"


@hello.task
async def count(task: Task, text: str) -> int:
    """Count the letters of a text.

    Args:
        text: What to count in.
    """
    await task.log("Counting", length=len(text))
    return sum(character.isalpha() for character in text)


def write_greeting(name: str) -> str:
    """A step is a plain function: done once, and its result is remembered."""
    return f"Hello, {name}!"


if __name__ == "__main__":
    hello.main()
