"""A reward of your own for problems in a file: a function is enough.

sfpo-bench train experiment=own model=hf model.path=MODEL task=jsonl task.path=FILE task.grader=own_reward:brief
"""

from sfpo_bench import Grade, GradeStatus, Problem


def brief(problem: Problem, response: str) -> Grade:
    """The right answer earns 1, and half of it where more than it was written."""
    right = problem.answer in response
    reward = 1.0 if response.strip() == problem.answer else 0.5 * right
    return Grade(GradeStatus.correct if right else GradeStatus.wrong, reward, response.strip())
