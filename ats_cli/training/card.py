"""The model card: the model, its training and its measured figures."""

from typing import Any

from ats_cli.records import ModelSpec


def model_card(spec: ModelSpec, metrics: dict[str, Any], command: str) -> str:
    """The card of a trained model, as markdown. `metrics`: those of the TrainingResult. `command`: the command line."""
    unit = "microns per pixel" if spec.unit == "um" else "level-0 pixels per pixel"
    side = spec.features.patch_size
    lines = [
        f"# {spec.name}",
        "",
        spec.description,
        "",
        f"- Classes: {', '.join(spec.classes)}",
        f"- Scans the slide at {spec.attention.scale:g} {unit} (content prior: {spec.attention.prior})",
        f"- Reads {spec.tiles} tiles of {side} x {side} pixels at {spec.features.scale:g} {unit}",
        f"- Feature net: `{spec.features.net}`",
        f"- Trained on {metrics['train_slides']} slides, {metrics['steps_done']} steps, seed {metrics['seed']}",
    ]
    validation = metrics.get("validation")
    if validation:
        lines += [
            f"- Validation accuracy {validation['accuracy']:.3f} on {metrics['validation_slides']} slides at step "
            f"{validation['step']}, cross entropy {validation['loss']:.3f}. The checkpoint was chosen on these same "
            "slides: expect a little less on new ones",
        ]
    elif not metrics.get("cross_validation"):
        lines += ["- Not validated: no slides were held out"]
    folds = metrics.get("cross_validation")
    if folds:
        lines += [
            f"- Cross-validated, {folds['folds']} folds, nothing chosen on the held-out slides: accuracy "
            f"{folds['accuracy']:.3f}, standard deviation over the folds {folds['accuracy_sd_over_folds']:.3f}. "
            "This model is trained on all slides by the same recipe"
        ]
    lines += [f"- Note during training: {note}" for note in metrics.get("notes", ())]
    if metrics.get("skipped"):
        lines += [f"- {len(metrics['skipped'])} slides could not be read and were left out"]
    if command:
        lines += ["", "Made by:", "", f"    {command}"]
    if spec.notice:
        lines += ["", spec.notice]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"
