//! Kernels in PTX, and what they must compute or be refused for.

use crate::bfloat16::{from_bfloat16, to_bfloat16};
use crate::kernel::Kernel;
use crate::launch::{Settings, Work, run};
use crate::memory;
use crate::parse::{kernels, target};

/// A kernel with two pointers and a number as parameters, in blocks of `threads`.
fn kernel(threads: u32, body: &str) -> &'static Kernel {
    let text = format!(
        ".version 8.8
         .target sm_80
         .address_size 64
         .extern .shared .align 512 .b8 cube_shared[];
         .visible .entry tested(
            .param .u64 .ptr .global .align 1 tested_param_0,
            .param .u64 .ptr .global .align 1 tested_param_1,
            .param .align 8 .b8 tested_param_2[8]
         )
         .reqntid {threads}, 1, 1
         {{
            .reg .pred %p<9>;
            .reg .b16 %rs<9>;
            .reg .b32 %r<99>;
            .reg .b64 %rd<99>;
            ld.param.b64 %rd1, [tested_param_0];
            ld.param.b64 %rd2, [tested_param_1];
            ld.param.b32 %r1, [tested_param_2];
            mov.u32 %r2, %tid.x;
            mul.wide.u32 %rd3, %r2, 4;
            add.s64 %rd4, %rd1, %rd3;
            add.s64 %rd5, %rd2, %rd3;
            mov.b64 %rd6, cube_shared;
            add.s64 %rd7, %rd6, %rd3;
            {body}
            ret;
         }}"
    );
    Box::leak(Box::new(kernels(&text).unwrap().remove(0)))
}

/// Memory of the device with these numbers.
fn sent(numbers: &[u32]) -> u64 {
    let start = memory::allocate(numbers.len() * 4).unwrap();
    // SAFETY: it was just allocated.
    unsafe { std::ptr::copy_nonoverlapping(numbers.as_ptr(), start as *mut u32, numbers.len()) };
    start
}

fn read(start: u64, count: usize) -> Vec<u32> {
    // SAFETY: a test reads what it has sent.
    unsafe { std::slice::from_raw_parts(start as *const u32, count) }.to_vec()
}

const RACES: Settings = Settings { races: true, order: 0, threads: 1, late: false };

/// Runs blocks with a number, from `from` to as many words as the result has.
fn result(
    kernel: &'static Kernel,
    from: &[u32],
    words: usize,
    settings: Settings,
) -> Result<Vec<u32>, String> {
    of_blocks(kernel, from, words, settings, 1)
}

fn of_blocks(
    kernel: &'static Kernel,
    from: &[u32],
    words: usize,
    settings: Settings,
    blocks: u32,
) -> Result<Vec<u32>, String> {
    let (from, to) = (sent(from), sent(&vec![0; words]));
    let mut parameters: Vec<u8> = [from, to].iter().flat_map(|it| it.to_le_bytes()).collect();
    parameters.extend(7u64.to_le_bytes());
    let block = kernel.block.unwrap();
    let work = Work { kernel, grid: [blocks, 1, 1], block, shared: 4096, parameters };
    run(&work, settings).map(|()| read(to, words))
}

#[test]
fn every_thread_of_a_block_that_ends_within_a_warp_computes_its_element() {
    let adds =
        kernel(40, "ld.global.b32 %r3, [%rd4]; add.s32 %r4, %r3, %r1; st.global.b32 [%rd5], %r4;");
    let found = result(adds, &(0..40).collect::<Vec<_>>(), 41, Settings::default()).unwrap();
    assert_eq!(found, (7..47).chain([0]).collect::<Vec<_>>());
}

#[test]
fn lanes_that_went_different_ways_are_together_again_before_what_follows() {
    // The way of the odd lanes is behind the end of the others.
    let parts = kernel(
        64,
        "and.b32 %r3, %r2, 1;
         setp.eq.b32 %p1, %r3, 1;
         mov.b32 %r4, 100;
         @%p1 bra $ODD;
         add.s32 %r4, %r4, %r2;
         $BOTH:
         st.shared.b32 [%rd7], %r4;
         bar.sync 0;
         xor.b32 %r5, %r2, 63;
         mul.wide.u32 %rd8, %r5, 4;
         add.s64 %rd9, %rd6, %rd8;
         ld.shared.b32 %r6, [%rd9];
         st.global.b32 [%rd5], %r6;
         ret;
         $ODD:
         bra.uni $BOTH;",
    );
    let value = |thread: u32| if thread % 2 == 1 { 100 } else { 100 + thread };
    for order in 0..5 {
        let settings = Settings { order, ..RACES };
        assert_eq!(
            result(parts, &[0], 64, settings),
            Ok((0..64).map(|at| value(63 - at)).collect())
        );
    }
}

#[test]
fn a_loop_ends_for_each_lane_when_its_condition_does() {
    let loops = kernel(
        32,
        "mov.b32 %r3, 0;
         mov.b32 %r4, 0;
         $AGAIN:
         setp.ge.u32 %p1, %r3, %r2;
         @%p1 bra $DONE;
         add.s32 %r3, %r3, 1;
         add.s32 %r4, %r4, %r3;
         bra.uni $AGAIN;
         $DONE:
         bar.warp.sync -1;
         st.global.b32 [%rd5], %r4;",
    );
    let sums: Vec<u32> = (0..32).map(|last| last * (last + 1) / 2).collect();
    assert_eq!(result(loops, &[0], 32, Settings::default()), Ok(sums));
}

#[test]
fn addresses_outside_of_memory_or_not_aligned_are_named_with_their_instruction() {
    for (access, told) in [
        ("ld.global.b32 %r3, [%rd4+128];", "where there is none"),
        ("ld.global.b32 %r3, [%rd1+2];", "not aligned"),
        ("ld.global.v4.b32 {%r3, %r4, %r5, %r6}, [%rd4];", "not aligned"),
        ("st.shared.b32 [%rd7+4092], %r2;", "where there is none"),
        ("st.shared.b32 [%rd7+-4], %r2;", "beyond all memory"),
    ] {
        let error = result(kernel(32, access), &[0; 32], 32, Settings::default()).unwrap_err();
        let instruction = access.trim_end_matches(';');
        assert!(error.contains(told) && error.contains(instruction), "{error}");
    }
}

#[test]
fn what_no_barrier_orders_is_a_race() {
    let exchange = |barrier: &str, distance: u32| {
        let body = format!(
            "st.shared.b32 [%rd7], %r2; {barrier}
             xor.b32 %r3, %r2, {distance}; mul.wide.u32 %rd8, %r3, 4; add.s64 %rd9, %rd6, %rd8;
             ld.shared.b32 %r4, [%rd9]; st.global.b32 [%rd5], %r4;"
        );
        result(kernel(64, &body), &[0], 64, RACES)
    };
    let within = |distance: u32| Ok((0..64).map(|thread| thread ^ distance).collect());
    assert_eq!(exchange("bar.sync 0;", 32), within(32));
    assert_eq!(exchange("bar.warp.sync -1;", 1), within(1));
    for (barrier, distance) in [("", 32), ("", 1), ("bar.warp.sync -1;", 32)] {
        let error = exchange(barrier, distance).unwrap_err();
        assert!(error.contains("without a barrier between"), "{error}");
    }
    let same = kernel(32, "st.global.b32 [%rd2], %r2;");
    assert!(
        result(same, &[0], 1, RACES).unwrap_err().contains("writes what another thread writes")
    );
    let changed =
        kernel(32, "ld.global.nc.b32 %r3, [%rd5]; bar.sync 0; st.global.b32 [%rd5], %r2;");
    assert!(result(changed, &[0], 32, RACES).unwrap_err().contains("as if it were constant"));
    let adds = kernel(32, "atom.relaxed.gpu.global.add.f32 %r3, [%rd2], 0f3F800000;");
    assert_eq!(result(adds, &[0], 1, Settings::default()), Ok(vec![32f32.to_bits()]));
    assert!(result(adds, &[0], 1, RACES).is_err());
}

#[test]
fn a_wide_register_takes_and_gives_fewer_bytes() {
    let wide = kernel(
        4,
        "ld.global.b32 %rd20, [%rd4]; shl.b64 %rd21, %rd20, 8; shr.u64 %rd22, %rd21, 32;
         st.global.b32 [%rd5], %rd22;",
    );
    let found = result(wide, &[0xab00_0000, 1, 0xff12_3456, 0], 4, Settings::default());
    assert_eq!(found, Ok(vec![0xab, 0, 0xff, 0]));
    let error =
        kernels(".entry e() { .reg .b32 %r<2>; .reg .b64 %rd<2>; add.s32 %r0, %rd1, 1; ret; }");
    assert!(error.err().unwrap().contains("%rd1 has another width"));
}

#[test]
fn operands_that_the_emulator_would_pass_over_are_refused() {
    let highest =
        kernel(1, "max.f32 %r3, 0f3F800000, 0f40000000, 0f40400000; st.global.b32 [%rd5], %r3;");
    assert_eq!(result(highest, &[0], 1, Settings::default()), Ok(vec![3f32.to_bits()]));
    let error =
        kernels(".entry e() { .reg .b32 %r<2>; add.s32 %r0, %r1, 1, 2; ret; }").err().unwrap();
    assert!(error.contains("4 operands, and not 3"), "{error}");
}

#[test]
fn no_barrier_of_a_block_orders_it_with_another_block() {
    let reads = "ld.global.b32 %r3, [%rd1]; bar.sync 0;";
    let one_writes = "mov.u32 %r4, %ctaid.x; setp.eq.b32 %p1, %r4, 1; setp.eq.b32 %p2, %r2, 0;
                      and.pred %p3, %p1, %p2; @%p3 st.global.b32 [%rd1], %r2;";
    let raced = kernel(32, &format!("{reads} {reads} {one_writes}"));
    let error = of_blocks(raced, &[0], 1, RACES, 2).unwrap_err();
    assert!(error.contains("writes what another thread reads"), "{error}");
    // A block of its own may.
    assert_eq!(of_blocks(raced, &[0], 1, RACES, 1), Ok(vec![0]));
}

#[test]
fn a_capture_with_something_that_it_cannot_repeat_is_void() {
    use crate::stream;
    let pinned = memory::allocate_pinned(64);
    stream::begin_capture(0);
    assert_eq!(stream::ask(stream::Task::Fill { to: pinned, value: 0, bytes: 0 }), 0);
    assert_eq!(stream::end_capture().map(|tasks| tasks.len()), Ok(1));
    for disturbs in [
        || stream::wait(),
        || stream::disturb("memory is reserved"),
        || stream::ask(stream::Task::Send { to: 0, bytes: vec![0], width: 1, to_pitch: 1 }),
    ] {
        stream::begin_capture(0);
        assert_eq!(disturbs(), 900);
        assert_eq!(stream::end_capture().err(), Some(901));
    }
    stream::begin_capture(0);
    let before = stream::exchange_mode(2);
    assert_eq!(stream::disturb("memory is reserved"), 0);
    stream::exchange_mode(before);
    assert!(stream::end_capture().is_ok());
    assert_eq!(stream::end_capture().err(), Some(401));
    assert!(memory::free_pinned(pinned));
}

#[test]
fn the_target_of_a_module_is_read() {
    let of = |text: &str| target(&format!(".version 8.7\n.target {text}\n.address_size 64"));
    assert_eq!(of("sm_80"), Some((80, false, 87)));
    assert_eq!(of("sm_100a, debug"), Some((100, true, 87)));
    assert_eq!(target("no module"), None);
}

#[test]
fn a_barrier_that_only_some_lanes_reach_is_refused() {
    let some = kernel(32, "setp.lt.u32 %p1, %r2, 5; @%p1 bar.sync 0;");
    assert!(result(some, &[0], 1, Settings::default()).unwrap_err().contains("not all lanes"));
}

/// A matrix in bfloat16, two values in a word, and the same in f32.
fn matrix(rows: usize, columns: usize, seed: usize) -> (Vec<u32>, Vec<f32>) {
    let values: Vec<f32> = (0..rows * columns).map(|at| ((at * seed) % 17) as f32 - 8.0).collect();
    let words = values
        .chunks(2)
        .map(|two| u32::from(to_bfloat16(two[0])) | u32::from(to_bfloat16(two[1])) << 16);
    (words.collect(), values)
}

fn product(a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) -> Vec<f32> {
    let cell = |at: usize| (0..k).map(|inner| a[at / n * k + inner] * b[inner * n + at % n]).sum();
    (0..m * n).map(cell).collect()
}

#[test]
fn matrices_loaded_by_rows_have_their_product() {
    // 16 by 16 times 16 by 8: `ldmatrix` gives each lane what `mma` expects of it.
    let (a, left) = matrix(16, 16, 5);
    let (b, right) = matrix(16, 8, 7);
    let transposed: Vec<f32> = (0..128).map(|at| right[at % 16 * 8 + at / 16]).collect();
    assert_eq!(b.len(), 64);
    let by_column: Vec<u32> = transposed
        .chunks(2)
        .map(|two| u32::from(to_bfloat16(two[0])) | u32::from(to_bfloat16(two[1])) << 16)
        .collect();
    let copy = (0..6)
        .map(|nth| {
            format!("ld.global.b32 %r3, [%rd4+{0}]; st.shared.b32 [%rd7+{0}], %r3;", nth * 128)
        })
        .collect::<String>();
    let body = format!(
        "{copy} bar.warp.sync -1;
         and.b32 %r4, %r2, 15; shr.u32 %r5, %r2, 4;
         shl.b32 %r6, %r4, 5; shl.b32 %r7, %r5, 4; add.s32 %r8, %r6, %r7;
         cvt.u64.u32 %rd10, %r8; add.s64 %rd11, %rd6, %rd10;
         ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r10, %r11, %r12, %r13}}, [%rd11];
         and.b32 %r20, %r2, 7; shl.b32 %r21, %r20, 5; shr.u32 %r22, %r2, 3; and.b32 %r23, %r22, 1;
         shl.b32 %r24, %r23, 4; add.s32 %r25, %r21, %r24;
         cvt.u64.u32 %rd12, %r25; add.s64 %rd13, %rd6, %rd12;
         ldmatrix.sync.aligned.m8n8.x2.shared.b16 {{%r14, %r15}}, [%rd13+512];
         mov.b32 %r30, 0; 
         mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {{%r40, %r41, %r42, %r43}},
            {{%r10, %r11, %r12, %r13}}, {{%r14, %r15}}, {{%r30, %r30, %r30, %r30}};
         shr.u32 %r50, %r2, 2; and.b32 %r51, %r2, 3; shl.b32 %r52, %r50, 5; shl.b32 %r53, %r51, 3; add.s32 %r54, %r52, %r53;
         cvt.u64.u32 %rd20, %r54; add.s64 %rd21, %rd2, %rd20;
         st.global.v2.b32 [%rd21], {{%r40, %r41}}; st.global.v2.b32 [%rd21+256], {{%r42, %r43}};"
    );
    let found = result(kernel(32, &body), &[a, by_column].concat(), 128, RACES).unwrap();
    let found: Vec<f32> = found.into_iter().map(f32::from_bits).collect();
    assert_eq!(found, product(&left, &right, [16, 8, 16]));
}

#[test]
fn fragments_of_every_shape_have_their_product() {
    for [m, n, k] in [[16, 16, 16], [32, 8, 16], [8, 32, 16]] {
        let (a, left) = matrix(m, k, 5);
        let (b, right) = matrix(k, n, 3);
        let registers = |first: usize, count: usize| {
            (first..first + count).map(|at| format!("%r{at}")).collect::<Vec<_>>().join(", ")
        };
        let (of_a, of_b) = (registers(10, m * k / 64), registers(30, k * n / 64));
        let (sums, results) = (registers(50, 8), registers(60, 8));
        let zeros: String = (50..58).map(|at| format!("mov.b32 %r{at}, 0f3F800000; ")).collect();
        let words = (m * k + k * n) / 2;
        let copy: String = (0..words / 32)
            .map(|nth| {
                format!("ld.global.b32 %r3, [%rd4+{0}]; st.shared.b32 [%rd7+{0}], %r3; ", nth * 128)
            })
            .collect();
        let back: String = (0..m * n / 32)
            .map(|nth| {
                format!(
                    "ld.shared.b32 %r3, [%rd7+{0}]; st.global.b32 [%rd5+{1}], %r3; ",
                    2048 + nth * 128,
                    nth * 128
                )
            })
            .collect();
        let (start_b, shape) = (m * k * 2, format!("m{m}n{n}k{k}"));
        let body = format!(
            "{copy} {zeros} bar.warp.sync -1; mov.b32 %r4, {k}; mov.b32 %r5, {n};
             wmma.load.a.sync.aligned.row.{shape}.shared.bf16 {{{of_a}}}, [cube_shared], %r4;
             wmma.load.b.sync.aligned.row.{shape}.shared.bf16 {{{of_b}}}, [%rd6+{start_b}], %r5;
             wmma.mma.sync.aligned.row.row.{shape}.f32.bf16.bf16.f32
                {{{results}}}, {{{of_a}}}, {{{of_b}}}, {{{sums}}};
             wmma.store.d.sync.aligned.row.{shape}.shared.f32 [%rd6+2048], {{{results}}}, %r5;
             bar.warp.sync -1; {back}"
        );
        let found = result(kernel(32, &body), &[a, b].concat(), m * n, RACES).unwrap();
        let found: Vec<f32> = found.into_iter().map(|word| f32::from_bits(word) - 1.0).collect();
        assert_eq!(found, product(&left, &right, [m, n, k]), "{shape}");
    }
}

#[test]
fn bfloat16_is_rounded_to_the_nearest_and_ties_to_even() {
    for (value, bits) in [
        (1.0, 0x3f80),
        (1.0 + 1.0 / 256.0, 0x3f80),
        (1.0 + 3.0 / 256.0, 0x3f82),
        (1.004, 0x3f81),
        (-2.0, 0xc000),
    ] {
        assert_eq!(to_bfloat16(value), bits, "{value}");
    }
    assert_eq!(to_bfloat16(f32::MAX), 0x7f80);
    assert!(from_bfloat16(to_bfloat16(f32::NAN)).is_nan());
}

#[test]
fn arithmetic_on_bfloat16_rounds_once_and_on_each_half() {
    let fma = kernel(
        2,
        "ld.global.b32 %r3, [%rd4];
         mov.b32 %r4, 0x3f803f80;
         mov.b32 %r5, 0x3b803b80;
         fma.rn.bf16x2 %r6, %r3, %r4, %r5;
         st.global.b32 [%rd5], %r6;",
    );
    // 1 + 2^-8 is a tie, which goes to the even 1, and (1 + 2^-7) + 2^-8 one that goes up to 1 + 2^-6; -2^-8 + 2^-8 is 0.
    let found = result(fma, &[0x3f81_3f80, 0xbb80_4300], 2, Settings::default()).unwrap();
    assert_eq!(found, [0x3f82_3f80, 0x0000_4300]);
    let sub = kernel(
        1,
        "ld.global.b32 %r3, [%rd4]; sub.bf16 %r4, %r3, %r3; neg.bf16 %r5, %r3; or.b32 %r6, %r4, %r5;
         st.global.b32 [%rd5], %r6;",
    );
    // What is above the number is neither read nor written.
    assert_eq!(result(sub, &[0x7777_4300], 1, Settings::default()).unwrap(), [0xc300]);
    let alone = |a: u16, b: u16, c: u16| {
        let numbers = [a, b, c].map(u32::from);
        let body = format!(
            "mov.b32 %r3, {}; mov.b32 %r4, {}; mov.b32 %r5, {}; fma.rn.bf16 %r6, %r3, %r4, %r5;
             st.global.b32 [%rd5], %r6;",
            numbers[0], numbers[1], numbers[2]
        );
        result(kernel(1, &body), &[0], 1, Settings::default()).unwrap()[0] as u16
    };
    // Just above a tie, far below the last bit of the sum, and more than the largest number.
    for (a, b, c) in [(0x3f81, 0x3f81, 0x3b80), (0x3f81, 0x3f81, 0x4e80), (0x7f7f, 0x7f7f, 0x3f80)]
    {
        let exact =
            f64::from(from_bfloat16(a)) * f64::from(from_bfloat16(b)) + f64::from(from_bfloat16(c));
        // The nearest of the neighbours.
        let near = to_bfloat16(exact as f32);
        let distance = |bits: u16| (f64::from(from_bfloat16(bits)) - exact).abs();
        let found = alone(a, b, c);
        let others = [near.wrapping_sub(1), near, near.wrapping_add(1)];
        assert!(
            exact > f64::from(f32::MAX) || others.iter().all(|it| distance(found) <= distance(*it))
        );
        assert_eq!(from_bfloat16(found).is_infinite(), exact > f64::from(f32::MAX));
    }
}

#[test]
fn bytes_are_permuted_by_their_selectors() {
    let body = "mov.b32 %r3, 0x33221180; mov.b32 %r4, 0x77665544; prmt.b32 %r5, %r3, %r4, 0x8371U; st.global.b32 [%rd5], %r5;";
    assert_eq!(result(kernel(1, body), &[0], 1, Settings::default()), Ok(vec![0xff33_7711]));
}

#[test]
fn an_instruction_that_is_not_known_is_named() {
    let text = ".entry tested() { .reg .b32 %r<2>; brev.b32 %r0, %r1; ret; }";
    let error = kernels(text).err().unwrap();
    assert!(error.contains("brev.b32 %r0, %r1"), "{error}");
}
