"""`ats predict`: slides in, one prediction a slide out."""

from __future__ import annotations

from ats_cli.commands.options import base as o
from ats_cli.records import MAX_UNREADABLE

EXAMPLES = """Examples:

ats predict slide.svs

ats predict slides/ --model my-model --tiles 200 --adaptive -o run"""


def command(
    slides: o.Slides = None,
    manifest: o.Manifest = None,
    na: o.Na = "auto",
    mpp: o.Mpp = None,
    backend: o.Backend = None,
    plane: o.Plane = None,
    color_profile: o.ColorProfile = None,
    roi: o.Roi = None,
    roi_class: o.RoiClass = None,
    roi_origin: o.RoiOrigin = None,
    max_unreadable: o.MaxUnreadable = MAX_UNREADABLE,
    download: o.Download = False,
    model: o.Model = None,
    tiles: o.Tiles = None,
    sampler: o.Sampler = None,
    adaptive: o.Adaptive = False,
    confidence: o.Confidence = None,
    exhaustive: o.Exhaustive = False,
    seed: o.RunSeed = None,
    output: o.RunOutput = None,
    extend: o.Extend = False,
    retry_failed: o.RetryFailed = False,
    overwrite: o.OverwriteRun = False,
    geojson: o.GeoJson = False,
    heatmap: o.Heatmap = False,
    attention: o.AttentionFormat = None,
    hdf5: o.Hdf5 = False,
    save_tiles: o.SaveTiles = False,
    report: o.Report = False,
    json: o.JsonLines = False,
    group_by: o.GroupBy = None,
    group_weights: o.GroupWeights = "equal",
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    batch_size: o.BatchSize = None,
    processes: o.Processes = None,
    threads: o.ThreadsEach = None,
    slide_timeout: o.SlideTimeout = None,
    cluster: o.Cluster = None,
    shard: o.Shard = None,
    fail_fast: o.FailFast = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Classify slides: scan each at low resolution with a small network, and read a few tiles.

    Prints one row a slide; with -o also writes a run folder.

    Memory, for each process: about 1 GB with a small network, however many slides there are. By --sampler murthy or
    --adaptive it hardly grows with a slide. The default sampler also holds the slide's attention map, some 35 bytes a
    position and at most 2.1 GB; a slide of more than 60 million positions is refused, and needs murthy.

    Exit status: 0 all done, 1 some slides failed, 2 the call is wrong, 130 interrupted.
    """
    from ats_cli.commands.options import settings as s

    sampling = s.sampling_settings(tiles, sampler, adaptive, confidence, exhaustive, seed)
    settings = sampling | s.opening_settings(backend, plane, color_profile, roi_class, roi_origin)
    s.refuse_together(cluster, processes, shard)

    import sys

    from ats_cli.commands.common.groups import GroupOutput
    from ats_cli.commands.common.messages import announce_model, ignore, say
    from ats_cli.commands.common.prediction_output import PredictionOutput
    from ats_cli.commands.common.progress import run_progress
    from ats_cli.commands.common.sources import gather
    from ats_cli.commands.common.tally import Tally, saved_of
    from ats_cli.inference.executors.executor import ExecutorOptions
    from ats_cli.inference.runs.prediction_request import PredictionRequest
    from ats_cli.inference.runs.prediction_run import PredictionRun
    from ats_cli.results.groups import GroupBy

    request = PredictionRequest(
        sources=[] if extend and not slides and not manifest else gather(slides, manifest, mpp, group_by, na),
        settings=settings,
        model=model,
        mpp=mpp,
        executor=ExecutorOptions(device, precision, processes, threads, slide_timeout, debug, cluster),
        max_unreadable=max_unreadable,
        batch_size=batch_size,
        roi=roi,
        download=download,
        group_by=None if group_by is None else GroupBy(group_by, group_weights),
        shard=None if shard is None else s.shard_of(shard),
        output=output,
        extend=extend,
        retry_failed=retry_failed,
        overwrite=overwrite,
        outputs=s.outputs_of(
            geojson=geojson, heatmap=heatmap, attention=attention, hdf5=hdf5, save_tiles=save_tiles, report=report
        ),
        arguments=sys.argv[1:],
    )
    run = PredictionRun(request, notify=ignore if quiet else say)
    announce_model(run.model, model, quiet)
    tally = Tally(len(run.sources), quiet, uses_mpp=run.model.spec.unit == "um")
    predictions = PredictionOutput(json, [source.slide_id for source in run.sources])
    groups = GroupOutput(json, run.sources, request.group_by, shard is not None, quiet)
    with run, run_progress(len(run.sources), quiet, run.active_slides, streams=json) as progress:
        interrupted = run.predict([tally, predictions, groups, progress], progress.on_progress, fail_fast)
    predictions.end()
    groups.end()
    progress.end(quiet)
    if interrupted:
        raise tally.interrupted(saved_of(output, overwrite))
    tally.failed_outputs = run.failed_outputs
    tally.finish()
