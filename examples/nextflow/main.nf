// Predict a folder of slides in parts, and join them:
//
//   nextflow run examples/nextflow/main.nf --slides /data/slides --model my-model --parts 4 --out run
//
// The table is run/predictions.csv. Paths are absolute: each part runs in a folder of its own.
//
// How far it was checked: read against Nextflow's documentation (DSL 2), not run, as no Nextflow was at hand. Its two
// commands are those of examples/snakemake, which is run by the tests.

params.slides = null
params.model = 'colon-epithelium'
params.parts = 4
params.out = 'run'

process PREDICT {
    cpus 2

    input:
    val part

    output:
    path "part-${part}"

    script:
    // Exit status 1: some slides failed, and have their row.
    """
    ats predict '${params.slides}' --model '${params.model}' -o part-${part} \\
        --shard ${part}/${params.parts} --processes ${task.cpus} --quiet || [ \$? -eq 1 ]
    """
}

process MERGE {
    publishDir '.', mode: 'copy'

    input:
    path runs

    output:
    path params.out

    script:
    """
    ats merge ${runs} -o '${params.out}'
    """
}

workflow {
    MERGE(PREDICT(channel.of(1..params.parts.toInteger())).collect())
}
