//! Jobs to start from: the files of `examples/`, with what each asks for.

/// A job to start from.
pub(super) struct Example {
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) source: &'static str,
    /// The fields of the form that are not as it shows them first.
    pub(super) fields: &'static [(&'static str, &'static str)],
}

macro_rules! example_file {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/", $name))
    };
}

pub(super) const EXAMPLES: [Example; 9] = [
    Example {
        key: "sum-of-squares",
        title: "Sum of squares",
        source: example_file!("sum_of_squares.py"),
        fields: &[("ram_mib", "256")],
    },
    Example {
        key: "random-forest",
        title: "Random forest",
        source: example_file!("random_forest.py"),
        fields: &[
            ("requirements", example_file!("random_forest.requirements.txt")),
            ("ram_mib", "1024"),
        ],
    },
    Example {
        key: "matrix-product",
        title: "Matrix product",
        source: example_file!("matrix_product.py"),
        fields: &[("requirements", example_file!("matrix_product.requirements.txt"))],
    },
    Example {
        key: "line-fit",
        title: "Line fit (packages in its header)",
        source: example_file!("line_fit.py"),
        fields: &[],
    },
    Example {
        key: "pi-openmp",
        title: "Pi on all cores (C, OpenMP)",
        source: example_file!("pi_openmp.c"),
        fields: &[("kind", "c"), ("cores", "2"), ("ram_mib", "256")],
    },
    Example {
        key: "heat-flags",
        title: "Heat in a plate (C with flags)",
        source: example_file!("heat_flags.c"),
        fields: &[
            ("kind", "c"),
            ("ram_mib", "256"),
            ("flags", "-O3 -march=native -DSIZE=512 -DSTEPS=2000"),
        ],
    },
    Example {
        key: "primes-array",
        title: "Primes (8 tasks)",
        source: example_file!("primes_array.py"),
        fields: &[
            ("ram_mib", "256"),
            ("array", "0-7"),
            ("time_limit_s", "120"),
            ("shared_tmp", "on"),
        ],
    },
    Example {
        key: "word-lengths-node",
        title: "Word lengths (Node.js)",
        source: example_file!("word_lengths_node.sh"),
        fields: &[("kind", "shell"), ("feature.node", "on")],
    },
    Example {
        key: "gpu-saxpy",
        title: "16 million numbers on a GPU",
        source: example_file!("gpu_saxpy.py"),
        fields: &[("ram_mib", "2048"), ("gpus", "1"), ("time_limit_s", "120")],
    },
];
