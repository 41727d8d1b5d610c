//! One statement of PTX as an instruction.

use crate::kernel::{Access, Factors, Fragment, Instruction, Space, What};
use crate::lanes::{Arithmetic, arithmetic};
use crate::parse::Scope;

type Result<T> = std::result::Result<T, String>;

/// Reads a statement such as `@%p1 add.s32 %r1, %r2, 4`.
pub fn instruction(text: &str, scope: &mut Scope) -> Result<Instruction> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (guard, rest) = match text.strip_prefix('@') {
        Some(guarded) => {
            let (predicate, rest) =
                guarded.split_once(' ').ok_or("a guard without an instruction")?;
            let (holds, name) =
                predicate.strip_prefix('!').map_or((true, predicate), |name| (false, name));
            (Some((scope.predicate(name)?, holds)), rest)
        }
        None => (None, text.as_str()),
    };
    let (mnemonic, operands) = rest.split_once(' ').unwrap_or((rest, ""));
    let operands = operands_of(operands);
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    let mut read =
        Instruction { what: What::Return, guard, to: 0, from: [0; 3], text: text.clone() };
    decode(mnemonic, &operands, scope, &mut read)?;
    Ok(read)
}

/// Operands, with what is in brackets as one.
fn operands_of(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut all = vec![String::new()];
    for letter in text.chars() {
        depth += match letter {
            '{' | '[' => 1,
            '}' | ']' => -1,
            _ => 0,
        };
        match letter {
            ',' if depth == 0 => all.push(String::new()),
            ' ' => {}
            _ => all.last_mut().unwrap_or(&mut String::new()).push(letter),
        }
    }
    all
}

fn decode(
    mnemonic: &str,
    operands: &[&str],
    scope: &mut Scope,
    read: &mut Instruction,
) -> Result<()> {
    let at = |nth: usize| operands.get(nth).copied().ok_or("too few operands");
    let first = at(0).unwrap_or_default();
    read.what = match (mnemonic, operands) {
        ("ret", _) => What::Return,
        ("bra" | "bra.uni", [label]) => {
            What::Branch(*scope.labels.get(*label).ok_or("no such label")?)
        }
        ("bar.sync" | "barrier.sync.aligned", ["0"]) => What::Barrier,
        ("bar.warp.sync", ["-1" | "0xffffffff"]) => What::WarpBarrier,
        ("mov.b64", [to, from]) if from.starts_with('{') => {
            let [low, high] = pair(from, 32, scope)?;
            (read.to, read.from) = (scope.wide(to)?, [low, high, 0]);
            What::Join
        }
        ("mov.b64", [to, from]) if to.starts_with('{') => {
            read.from[0] = scope.wide(from)?;
            What::Split(pair(to, 32, scope)?)
        }
        ("mov.b32", [to, from]) if from.starts_with('{') => {
            let [low, high] = pair(from, 16, scope)?;
            (read.to, read.from) = (scope.word(to)?, [low, high, 0]);
            What::JoinHalves
        }
        ("mov.b32", [to, from]) if to.starts_with('{') => {
            read.from[0] = scope.word(from)?;
            What::SplitHalves(pair(to, 16, scope)?)
        }
        // Addresses of shared memory are small numbers, in both spaces.
        (
            "cvta.to.shared.u64" | "cvta.shared.u64" | "cvta.to.global.u64" | "cvta.global.u64",
            [to, from],
        ) => {
            (read.to, read.from[0]) = (scope.wide(to)?, scope.wide(from)?);
            What::Arithmetic(Arithmetic::WideOne(|a| *a))
        }
        ("selp.b16" | "selp.b32" | "selp.f32" | "selp.u32" | "selp.s32", [to, a, b, by]) => {
            (read.to, read.from) =
                (scope.word(to)?, [scope.word(a)?, scope.word(b)?, scope.predicate(by)?]);
            What::Select
        }
        ("selp.b64" | "selp.u64", [to, a, b, by]) => {
            (read.to, read.from) =
                (scope.wide(to)?, [scope.wide(a)?, scope.wide(b)?, scope.predicate(by)?]);
            What::WideSelect
        }
        ("atom.relaxed.gpu.global.add.f32" | "atom.global.add.f32", [to, address, value]) => {
            What::Add {
                access: access("ld.global.f32", to, address, scope)?,
                value: scope.word(value)?,
            }
        }
        _ if mnemonic.starts_with("ld.") => What::Load(access(mnemonic, first, at(1)?, scope)?),
        _ if mnemonic.starts_with("st.") => What::Store(access(mnemonic, at(1)?, first, scope)?),
        _ if mnemonic.starts_with("ldmatrix.sync.aligned.m8n8.") => What::LoadMatrices {
            access: access(mnemonic, first, at(1)?, scope)?,
            transposed: mnemonic.contains(".trans"),
        },
        _ if mnemonic.starts_with("wmma.load.") => {
            What::LoadFragment(fragment(mnemonic, [at(0)?, at(1)?, at(2)?], scope)?)
        }
        _ if mnemonic.starts_with("wmma.store.") => {
            What::StoreFragment(fragment(mnemonic, [at(1)?, at(0)?, at(2)?], scope)?)
        }
        ("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", _) => {
            What::Multiply(factors(mnemonic, operands, scope)?)
        }
        _ if mnemonic.starts_with("wmma.mma.") && mnemonic.ends_with(".f32.bf16.bf16.f32") => {
            What::MultiplyFragments(factors(mnemonic, operands, scope)?)
        }
        _ => What::Arithmetic(computed(mnemonic, operands, scope, read)?),
    };
    Ok(())
}

/// An instruction from registers to a register.
fn computed(
    mnemonic: &str,
    operands: &[&str],
    scope: &mut Scope,
    read: &mut Instruction,
) -> Result<Arithmetic> {
    let arithmetic = arithmetic(mnemonic, operands.len().saturating_sub(1))
        .ok_or("an instruction that the emulator does not know")?;
    let (to, from) = arithmetic.files();
    let [first, rest @ ..] = operands else { return Err("no operands".into()) };
    if rest.len() != from.len() {
        return Err(format!("{} operands, and not {}", operands.len(), from.len() + 1));
    }
    read.to = scope.operand(first, to)?;
    for ((into, name), file) in read.from.iter_mut().zip(rest).zip(from) {
        *into = scope.operand(name, *file)?;
    }
    Ok(arithmetic)
}

/// The two registers of so many bits in braces.
fn pair(list: &str, bits: u8, scope: &mut Scope) -> Result<[u16; 2]> {
    let names: Vec<&str> = list.trim_matches(['{', '}']).split(',').collect();
    let [low, high] = names[..] else { return Err("not two registers in braces".into()) };
    if [low, high].into_iter().any(|name| scope.bits(name).is_some_and(|found| found != bits)) {
        return Err(format!("registers in braces that are not of {bits} bits"));
    }
    Ok([scope.word(low)?, scope.word(high)?])
}

/// The 32-bit registers in braces, or the only one.
fn words(list: &str, scope: &mut Scope) -> Result<Box<[u16]>> {
    list.trim_matches(['{', '}']).split(',').map(|name| scope.word(name)).collect()
}

/// `ld` and `st`, with names such as `ld.global.nc.v4.b32`.
fn access(mnemonic: &str, values: &str, address: &str, scope: &mut Scope) -> Result<Access> {
    let mut space = None;
    let mut bytes = 0;
    for part in mnemonic.split('.').skip(1) {
        match part {
            "global" => space = Some(Space::Global),
            "shared" => space = Some(Space::Shared),
            "param" => space = Some(Space::Parameters),
            "b8" | "u8" => bytes = 1,
            "b16" | "u16" => bytes = 2,
            "b32" | "u32" | "f32" => bytes = 4,
            "b64" | "u64" => bytes = 8,
            // Loads through the cache for what a kernel only reads, vectors, and parts of other names.
            "nc" | "v2" | "v4" | "v8" | "sync" | "aligned" | "m8n8" | "x1" | "x2" | "x4"
            | "trans" | "load" | "store" | "row" | "col" => {}
            "a" | "b" | "c" | "d" | "bf16" => {}
            _ if part.starts_with('m') => {}
            _ => return Err(format!("{part} is not known")),
        }
    }
    let names: Vec<&str> = values.trim_matches(['{', '}']).split(',').collect();
    let is_wide = bytes == 8 || names.iter().any(|name| scope.bits(name) == Some(64));
    let registers: Result<Box<[u16]>> = names
        .into_iter()
        .map(|name| if is_wide { scope.wide(name) } else { scope.word(name) })
        .collect();
    let registers = registers?;
    let named = ["x1", "x2", "x4", "v2", "v4", "v8"]
        .into_iter()
        .find(|it| mnemonic.split('.').any(|part| part == *it));
    let count = named.map_or(1, |name| usize::from(name.as_bytes()[1] - b'0'));
    if !mnemonic.starts_with("wmma.") && registers.len() != count {
        return Err(format!("{} registers, and not {count}", registers.len()));
    }
    let inside = address.trim_matches(['[', ']']);
    let (name, offset) = match inside.split_once('+') {
        Some((name, offset)) => {
            (name, offset.parse::<i64>().map_err(|_| "an offset that is no number")?)
        }
        None => (inside, 0),
    };
    let (base, start) = match name.starts_with('%') {
        true => (Some(scope.wide(name)?), 0),
        false => (None, scope.offset(name).ok_or("no such variable")?),
    };
    Ok(Access {
        space: space.ok_or("generic addresses are not known")?,
        bytes,
        registers,
        is_wide,
        is_constant: mnemonic.contains(".nc."),
        base,
        offset: start.wrapping_add(offset as u64),
    })
}

/// The sizes in a name such as `m16n8k16`.
fn sizes(mnemonic: &str) -> Result<(usize, usize, usize)> {
    let of = |part: &str| {
        let (m, rest) = part.strip_prefix('m')?.split_once('n')?;
        let (n, k) = rest.split_once('k')?;
        Some((m.parse().ok()?, n.parse().ok()?, k.parse().ok()?))
    };
    mnemonic.split('.').find_map(of).ok_or_else(|| "no sizes".to_string())
}

fn fragment(
    mnemonic: &str,
    [values, address, stride]: [&str; 3],
    scope: &mut Scope,
) -> Result<Fragment> {
    let (m, n, k) = sizes(mnemonic)?;
    let (rows, columns) = match mnemonic.split('.').nth(2) {
        Some("a") => (m, k),
        Some("b") => (k, n),
        _ => (m, n),
    };
    let mut access = access(mnemonic, values, address, scope)?;
    access.bytes = if mnemonic.ends_with(".bf16") { 2 } else { 4 };
    let held = access.registers.len() * 32 * 4 / access.bytes;
    if held != rows * columns {
        return Err(format!("{held} values for {rows} by {columns}"));
    }
    Ok(Fragment {
        access,
        rows,
        columns,
        by_column: mnemonic.contains(".col."),
        stride: scope.word(stride)?,
    })
}

fn factors(mnemonic: &str, operands: &[&str], scope: &mut Scope) -> Result<Box<Factors>> {
    let (m, n, k) = sizes(mnemonic)?;
    let [d, a, b, c] = operands else { return Err("a product has four operands".into()) };
    // Of 32 lanes, two values of a factor in a register, or one sum.
    let mut of = |list: &str, count: usize| {
        let registers = words(list, scope)?;
        let is_right = registers.len() == count;
        is_right.then_some(registers).ok_or_else(|| format!("{list} are not {count} registers"))
    };
    let (d, c) = (of(d, m * n / 32)?, of(c, m * n / 32)?);
    let (a, b) = (of(a, m * k / 64)?, of(b, k * n / 64)?);
    Ok(Box::new(Factors { m, n, k, d, a, b, c }))
}
