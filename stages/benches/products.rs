//! Times the ways that cubek has to compute the products of a training step, on a GPU.
//!
//! ```sh
//! cargo bench --features cuda -p stages --bench products -- cuda bf16 1280
//! ```
//!
//! The arguments are the device, the format of the factors (`bf16`, `tf32` or `f32`), the number of tokens
//! of a batch, and perhaps parts of names of ways. A line has the sizes, the way, the best time of a launch
//! in a recording, how far the result is from that of the first way, and the time until the first result.

use std::time::Instant;

use burn::backend::Cube;
use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;
use cubecl::bytes::Bytes;
use cubek::matmul::multi_level::Strategy as Way;
use cubek::matmul::multi_level::components::tile::TileMatmulKind;
use cubek::matmul::multi_level::routines::TileSizeSelection;
use cubek::matmul::multi_level::routines::batch::double_buffering::DoubleBufferingArgs;
use cubek::matmul::multi_level::routines::batch::double_unit::DoubleUnitSelectionArgs;
use cubek::matmul::multi_level::routines::batch::ordered_double_buffering::OrderedSelectionArgs;
use cubek::matmul::multi_level::routines::batch::simple::SimpleArgs;
use cubek::matmul::multi_level::routines::batch::simple_unit::SimpleUnitSelectionArgs;
use cubek::matmul::multi_level::routines::gemm::GemmStrategy;
use cubek::matmul::routine::BlueprintStrategy::Inferred;
use cubek::matmul::strategy::Strategy;
use stages::model::device::trial::{Sizes, Trial};
use stages::model::precision::Precision;
use stages::stage::panics::guarded;

/// Outputs and inputs of the weights of a layer with 768 features.
const WEIGHTS: [[usize; 2]; 4] = [[2304, 768], [768, 768], [3072, 768], [768, 3072]];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|it| !it.starts_with("--"));
    let device = arguments.next().unwrap_or("auto".to_owned());
    let precision = match arguments.next().as_deref() {
        Some("f32") => Precision::F32,
        Some("tf32") => Precision::Tf32,
        _ => Precision::Bf16,
    };
    let tokens = arguments.next().map_or(1280, |it| it.parse().expect("a number of tokens"));
    let names: Vec<String> = arguments.collect();
    let device = stages::model::accelerator::choose(&device).expect("a device").device;
    let beside = Tensor::<1>::zeros([1], &device);
    let beside: CubeTensor = beside.try_into_primitive::<Cube>().expect("a tensor on a GPU");
    for [outputs, inputs] in WEIGHTS {
        for (what, [rows, inner, columns], turned) in [
            ("x W'", [tokens, inputs, outputs], [false, true]),
            ("g W", [tokens, outputs, inputs], [false, false]),
            ("g' x", [outputs, tokens, inputs], [true, false]),
        ] {
            let trial = Trial::new(&beside, Sizes { rows, inner, columns, turned, precision });
            let mut first = None;
            for (name, way) in ways() {
                if names.is_empty() || names.iter().any(|it| name.contains(it)) {
                    print!("{rows:4} x {inner:4} x {columns:4} {what:5} {name:34} ");
                    match guarded(|| timed(&way, &trial, &mut first)).flatten() {
                        Ok(Timed { seconds, compiled, error }) => {
                            let rate = 2.0 * (rows * columns * inner) as f64 / seconds / 1e12;
                            let micros = seconds * 1e6;
                            println!(
                                "{micros:8.1} µs {rate:6.1} TFLOP/s, off by {error:.0e}, first after {compiled:.2} s"
                            );
                        }
                        Err(why) => println!("{}", why.chars().take(90).collect::<String>()),
                    }
                }
            }
        }
    }
}

struct Timed {
    /// Of one launch.
    seconds: f64,
    /// Until the first result.
    compiled: f64,
    /// NaN if it left something out.
    error: f32,
}

fn timed(way: &Strategy, trial: &Trial, first: &mut Option<Bytes>) -> Result<Timed, String> {
    let began = Instant::now();
    let found = trial.computed(way)?;
    let compiled = began.elapsed().as_secs_f64();
    let seconds = trial.seconds(way)?;
    let numbers = |bytes: &Bytes| bytemuck::cast_slice::<u8, f32>(bytes).to_vec();
    let expected = numbers(first.get_or_insert_with(|| found.clone()));
    let apart = numbers(&found).into_iter().zip(expected).map(|(a, b)| (a - b).abs());
    let error = apart.fold(0.0, |worst, it| if it > worst || it.is_nan() { it } else { worst });
    Ok(Timed { seconds, compiled, error })
}

fn ways() -> Vec<(String, Strategy)> {
    let kinds = [TileMatmulKind::Cmma, TileMatmulKind::Mma];
    let mut ways = Vec::new();
    for multi_rows in [false, true] {
        let [cmma, mma] = kinds.map(|tile_matmul| Inferred(SimpleArgs { tile_matmul, multi_rows }));
        let rows = if multi_rows { " rows" } else { "" };
        ways.push((format!("simple cmma{rows}"), Way::SimpleCyclicCmma(cmma)));
        ways.push((format!("simple mma{rows}"), Way::SimpleCyclicMma(mma)));
    }
    for specialized in [false, true] {
        let [cmma, mma] =
            kinds.map(|tile_matmul| Inferred(DoubleBufferingArgs { tile_matmul, specialized }));
        let loaders = if specialized { " loaders" } else { "" };
        ways.push((format!("double cmma{loaders}"), Way::DoubleCyclicCmma(cmma)));
        ways.push((format!("double mma{loaders}"), Way::DoubleCyclicMma(mma)));
    }
    for [k, rows, each] in
        [[2, 2, 1], [2, 4, 1], [2, 4, 2], [4, 4, 2], [2, 8, 1], [2, 8, 2], [4, 8, 2], [2, 16, 2]]
    {
        let [partition_k, row_count, rows_per_plane] = [k, rows, each].map(Some);
        let [cmma, mma] = kinds.map(|tile_matmul| {
            Inferred(OrderedSelectionArgs { tile_matmul, partition_k, row_count, rows_per_plane })
        });
        let sizes = format!("k{k} rows{rows} each{each}");
        ways.push((format!("ordered cmma {sizes}"), Way::OrderedDoubleCmma(cmma)));
        ways.push((format!("ordered mma {sizes}"), Way::OrderedDoubleMma(mma)));
    }
    ways.push(("specialized mma".to_owned(), Way::SpecializedCyclicMma(Inferred(().into()))));
    for tile_size in [TileSizeSelection::MaxTileSize, TileSizeSelection::MinTileSize] {
        let simple = Inferred(SimpleUnitSelectionArgs { tile_size });
        let double = Inferred(DoubleUnitSelectionArgs { tile_size });
        ways.push((format!("simple unit {tile_size}"), Way::SimpleUnit(simple)));
        ways.push((format!("double unit {tile_size}"), Way::DoubleUnit(double)));
    }
    ways.push(("gemm".to_owned(), Way::Gemm(Inferred(GemmStrategy { target_num_planes: None }))));
    let ways = ways.into_iter().map(|(name, way)| (name, Strategy::MultiLevel(way)));
    std::iter::once(("auto".to_owned(), Strategy::Auto)).chain(ways).collect()
}
