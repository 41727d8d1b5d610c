//! A kernel as it is executed: its instructions with registers as indexes.

use std::sync::atomic::AtomicU32;

use crate::lanes::Arithmetic;

/// A kernel of a module, read from its PTX.
pub struct Kernel {
    pub name: String,
    pub parameters: Vec<Parameter>,
    pub instructions: Vec<Instruction>,
    /// For each instruction that branches, the one where its ways meet.
    pub meetings: Vec<u32>,
    pub registers: Registers,
    /// The threads of a block, if the kernel names them (`.reqntid`).
    pub block: Option<[u32; 3]>,
    /// Bytes of shared memory before what a launch asks for.
    pub shared: usize,
    /// The most that a launch may ask for.
    pub most_shared: AtomicU32,
}

/// Where a parameter is among those of a launch, in bytes.
pub struct Parameter {
    pub offset: usize,
    pub size: usize,
}

/// How many registers a warp has, and those that hold the same for a whole launch.
#[derive(Default)]
pub struct Registers {
    pub words: usize,
    pub wides: usize,
    pub predicates: usize,
    pub constants: Vec<(u16, u32)>,
    pub wide_constants: Vec<(u16, u64)>,
    pub specials: Vec<(u16, Special)>,
}

/// The kinds of registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// Of 32 bits, or fewer.
    Words,
    /// Of 64 bits.
    Wides,
    Predicates,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Special {
    Thread(u8),
    Block(u8),
    BlockSize(u8),
    GridSize(u8),
    Lane,
}

pub struct Instruction {
    pub what: What,
    /// Only the lanes do it in which this predicate, or its opposite, holds.
    pub guard: Option<(u16, bool)>,
    pub to: u16,
    pub from: [u16; 3],
    /// As in the PTX, for messages.
    pub text: String,
}

pub enum What {
    Arithmetic(Arithmetic),
    /// The third operand is a predicate.
    Select,
    WideSelect,
    /// Two words as the halves of a wide register, and back.
    Join,
    Split([u16; 2]),
    /// Two 16-bit values as the halves of a word, and back.
    JoinHalves,
    SplitHalves([u16; 2]),
    Load(Access),
    Store(Access),
    /// Adds to f32 in memory, which gives what was there before.
    Add {
        access: Access,
        value: u16,
    },
    Branch(u32),
    Return,
    Barrier,
    WarpBarrier,
    LoadMatrices {
        access: Access,
        transposed: bool,
    },
    LoadFragment(Fragment),
    StoreFragment(Fragment),
    /// `mma` with fragments whose places are part of PTX.
    Multiply(Box<Factors>),
    /// `wmma.mma`, whose fragments only `wmma.load` and `wmma.store` know.
    MultiplyFragments(Box<Factors>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    Global,
    Shared,
    Parameters,
}

/// A value of one or more registers in memory.
pub struct Access {
    pub space: Space,
    /// Bytes of each register: 1, 2, 4 or 8.
    pub bytes: usize,
    pub registers: Box<[u16]>,
    /// Whether these are of 64 bits, which may hold fewer bytes.
    pub is_wide: bool,
    /// Whether the launch promises that nothing is written there.
    pub is_constant: bool,
    /// The register of the address, if it is not constant.
    pub base: Option<u16>,
    pub offset: u64,
}

/// A matrix of `rows` by `columns` in memory, spread over the registers of a warp.
pub struct Fragment {
    pub access: Access,
    pub rows: usize,
    pub columns: usize,
    /// Whether columns are contiguous, not rows.
    pub by_column: bool,
    /// The register with the elements from one row, or column, to the next.
    pub stride: u16,
}

/// The operands of `d = a b + c`, for `m` by `k` and `k` by `n` factors in bfloat16 and sums in f32.
pub struct Factors {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub d: Box<[u16]>,
    pub a: Box<[u16]>,
    pub b: Box<[u16]>,
    pub c: Box<[u16]>,
}
