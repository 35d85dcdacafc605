"""1b: a student taught module by module, on 1,000 images of Fashion-MNIST, by a teacher that has seen 20,000 others."""

from __future__ import annotations

from typing import Any

from inn_studies.family.entry import Criterion, Entry, mean, scores
from inn_studies.lab import Lab
from inn_studies.where.harness import Test, Track, case, job, train_and_score
from inn_studies.where.row import measured_row

SCRATCH, LOGITS, MODULE = "alone", "by logits", "by module"
SCRATCH_LONG, LOGITS_LONG, TEACHER = "alone, equal total steps", "by logits, equal total steps", "the teacher"
TEST = "test"
AHEAD, AHEAD_LOGITS = 0.02, 0.01
IMAGES, OTHERS = 1000, 20_000
GRAPH = {"kind": "signal", "memory": "gru", "rounds": 4}
BIG, SMALL = {**GRAPH, "neurons": 6, "width": 10}, {**GRAPH, "neurons": 4, "width": 8}
RATE = 8e-3


class Taught(Entry):
    """Objective `distil`, by logits and by module; the teacher is wider than the student, and deeper than a block."""

    number = "1b"
    title = "Teaching a student module by module"
    source = "*m2mKD*, [arXiv 2402.16918](https://arxiv.org/abs/2402.16918)"
    claim = "a modular student taught module by module is up to 5.6 % better on Tiny-ImageNet, 3.5 % on ImageNet."
    home = "objective `distil`, `by: module`"
    control = "the same student alone and by logits, in as many joint steps, and in as many steps as all lessons take"
    score = f"accuracy on the test part of Fashion-MNIST, after {IMAGES:,} images"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        joint, lessons, blocks = size.of(2, 200), size.of(1, 100), 2
        held = {"held": size.of(100, 5000)}
        tests = {TEST: Test(part=size.of("valid", "test"))}
        own = {**held, "images": size.of(32, IMAGES)}
        apart = {**held, "images": size.of(32, OTHERS), "skip": IMAGES}

        def track(name: str, steps: int, options: dict[str, Any], **objective: Any) -> Track:
            given = {f"train.objective{f'.{k}' if k else ''}": v for k, v in objective.items()}
            return Track(f"taught {name}", "task:fashion", steps, options=options, tests=tests, settings=given)

        big = track("teacher", size.of(2, 800), apart)
        seen = case(big, TEACHER, BIG, RATE, 0, lab.root)
        teacher = {"": "distil", "teacher": str(lab.train([job(big, TEACHER, BIG, RATE, 0)])[0].path)}
        total = joint + lessons * (blocks + 1)
        tracks = {
            SCRATCH: track("alone", joint, own),
            LOGITS: track("logits", joint, own, **teacher),
            MODULE: track("module", joint, own, **teacher, by="module", modules=blocks, lessons=lessons),
            SCRATCH_LONG: track("alone long", total, own),
            LOGITS_LONG: track("logits long", total, own, **teacher),
        }
        cases = {
            f"{label} {seed}": case(one, label, SMALL, RATE, seed, lab.root)
            for label, one in tracks.items()
            for seed in range(1, 1 + seeds)  # lessons and sizes were tried at seed 0
        }
        found = lab.compute(train_and_score, {TEACHER: seen, **cases})
        rows = [{**measured_row(TEACHER, BIG, RATE, {}, [found[TEACHER]]), "control": True, "steps": size.of(2, 800)}]
        for label, one in tracks.items():
            runs = [found[f"{label} {seed}"] for seed in range(1, 1 + seeds)]
            steps = total if label == MODULE else one.steps
            rows.append({**measured_row(label, SMALL, RATE, {}, runs), "control": label != MODULE, "steps": steps})
        return {"rows": rows, "joint": joint, "total": total}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        ours = mean(result, MODULE, TEST)
        alone, logits = (ours - mean(result, label, TEST) for label in (SCRATCH, LOGITS))
        enough = len(scores(result, MODULE, TEST)) > 2
        return [
            Criterion.of(
                "alone", f"≥ {100 * AHEAD:g} points better at equal joint steps, 3 seeds",
                f"{100 * alone:+.1f} points", alone >= AHEAD if enough else None,
            ),
            Criterion.of(
                "by logits", f"≥ {100 * AHEAD_LOGITS:g} point better at equal joint steps, 3 seeds",
                f"{100 * logits:+.1f} points", logits >= AHEAD_LOGITS if enough else None,
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        ours = mean(result, MODULE, TEST)
        long = ", ".join(
            f"{name} {100 * (ours - mean(result, label, TEST)):+.1f}"
            for name, label in (("alone", SCRATCH_LONG), ("by logits", LOGITS_LONG))
        )
        return (
            f"with the lessons, of which the meta model's are a part, it takes {result['total']} steps in place of "
            f"{result['joint']}. Against as many of these it is, in points: {long}. The meta model is trained on the "
            "student's own images."
        )
