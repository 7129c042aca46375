"""The verbs, and the text of `sfpo-bench --help`."""

from __future__ import annotations

VERBS = {
    "train": "train one run",
    "compare": "train arms x seeds and write figure and tables; for an experiment by NAME, or your own file",
    "sweep": "search a space of settings, resumable: sweep NAME, or your own file",
    "study": "tune, compare, evaluate and score, resumable: study NAME, or your own file",
    "report": "rewrite figures, tables and page of a comparison or a sweep",
    "evaluate": "sample a model on benchmarks, keep every sample, write its scores",
    "scores": "compare evaluations with paired differences, or choose one",
    "import": "import runs of other trainers (TRL, verl, W&B, TensorBoard, Trackio, MLPerf, MLflow, CSV)",
    "published": "show published results and the sampling error that their design implies",
    "methods": "list algorithm components with paper, trust and cost",
    "overlap": "find benchmark problems that occur in training sets",
    "list": "list comparisons, sweeps, studies and runs with their state; --watch NAME follows a sweep",
    "show": "show prompts, responses and rewards of a step",
    "export": "export a checkpoint as a Hugging Face folder",
    "export-logs": "export a run, or those of a comparison, as logs of MLPerf",
    "extrapolate": "predict weights of a later step from checkpoints, as a Hugging Face folder",
    "fetch": "download SmolLM2-135M-Instruct for offline use",
    "grade": "grade a file of answers by the rules of docs/grading.md",
    "sync": "deliver runs to MLflow that it does not have yet",
    "doctor": "check versions, devices, tracking store, hub, cache and disk",
}
# Settings that may be given by position: `show RUN` is `show run=RUN`.
POSITIONAL = {
    "show": ("run",),
    "evaluate": ("run",),
    "export": ("run", "out"),
    "export-logs": ("form", "folder"),
    "extrapolate": ("run",),
    "report": ("folder",),
    "fetch": ("name",),
    "import": ("log",),
    "published": ("name",),
    "methods": ("of",),
    "grade": ("answers", "grades"),
}

USAGE = """usage: sfpo-bench VERB [overrides] [Hydra flags]

{verbs}

`sfpo-bench VERB --help` shows the settings of a verb. Settings are Hydra overrides, key=value; groups are chosen by
group=name. Hydra's flags work after the verb: --cfg job, --info defaults, --config-dir, --hydra-help.

examples:
  sfpo-bench compare                                   the default comparison: SFPO against GRPO, minutes on two cores
  sfpo-bench compare comparison.seeds=3                the same with three seeds
  sfpo-bench compare my_arms.yaml                      arms of your own: defaults: [compare, _self_], comparison: ...
  sfpo-bench train experiment=paper/qwen2.5-math-7b --plan   what a run would need, without starting it
  sfpo-bench train experiment=paper/qwen2.5-math-7b --plan=costs.json   and how long a step takes on 8 to 1,024 GPUs
  sfpo-bench train algorithm=sfpo learner.learning_rate=2e-4
  sfpo-bench train experiment=own model=hf model.path=MODEL task=jsonl task.path=PROBLEMS.jsonl
  sfpo-bench sweep learning_rate                       a packaged search; sweeps/README.md says what each is for
  sfpo-bench sweep my_space.yaml sweep.trials=40 sweep.slots=2
  sfpo-bench study arithmetic                          arms tuned, compared, evaluated: tables with intervals
  sfpo-bench study smollm2_addition data.dir=DATA
  sfpo-bench report results/arithmetic baseline=repeat out=against-repeat
  sfpo-bench report run=arithmetic uri=http://127.0.0.1:5000     from MLflow alone
  sfpo-bench show results/runs/arithmetic-sfpo-seed0 step=20
  sfpo-bench evaluate model=smollm2 suite=quick data.dir=DATA sampling.max_new_tokens=256 precision=bfloat16
  sfpo-bench evaluate results/runs/arithmetic-sfpo-seed0 suite=embedded sampling.max_new_tokens=12
  sfpo-bench scores folders=[results/evaluations/A,results/evaluations/B]
  sfpo-bench scores logs.A=[a.eval] logs.B=[b.eval] grades=ours     sample logs of other programs
  sfpo-bench overlap data.dir=DATA training=[dapo17k]
  sfpo-bench export results/runs/arithmetic-sfpo-seed0 my-model checkpoint=best
  sfpo-bench export-logs mllog results/arithmetic target=0.6
  sfpo-bench extrapolate results/runs/arithmetic-sfpo-seed0 to_step=100     from kept checkpoints: training.keep_every
  sfpo-bench published out=FOLDER                      the SFPO paper's results with their sampling error
  sfpo-bench methods update_rule                       SFPO and what it is compared with
  sfpo-bench import mine.csv baseline=grpo targets=[0.5]     columns step, responses, seconds, accuracy, arm, seed
  sfpo-bench grade ANSWERS.jsonl GRADES.jsonl
  eval "$(sfpo-bench train -sc install=bash)"          completion for this shell"""
