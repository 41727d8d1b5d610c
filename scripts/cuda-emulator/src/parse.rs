//! Reads the kernels of a PTX module (PTX ISA 8.8). Functions that are not kernels are passed over: LLVM leaves the bodies
//! of those that it has inlined.

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;

use crate::decode::instruction;
use crate::flow::meetings;
use crate::kernel::{File, Kernel, Parameter, Registers, Special};

/// The shared memory that a launch may ask for without asking for more before.
const DEFAULT_SHARED: u32 = 49_152;

type Result<T> = std::result::Result<T, String>;

/// What a module is made for: compute capability and, of its architecture alone, and the version of PTX, both times ten.
pub fn target(ptx: &str) -> Option<(u32, bool, u32)> {
    let of =
        |name: &str| Some(ptx.split_once(name)?.1.split_whitespace().next()?.trim_end_matches(','));
    let architecture = of(".target")?.strip_prefix("sm_")?;
    let version = of(".version")?.replace('.', "");
    let capability = architecture.trim_end_matches(['a', 'f']);
    Some((capability.parse().ok()?, capability != architecture, version.parse().ok()?))
}

/// The kernels of a module.
pub fn kernels(ptx: &str) -> Result<Vec<Kernel>> {
    let text: String = ptx
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(".entry") {
        rest = &rest[at + ".entry".len()..];
        let (head, after) = rest.split_once('{').ok_or("a kernel without a body")?;
        let end = closing(after).ok_or("a kernel without an end")?;
        found.push(kernel(head, &after[..end])?);
        rest = &after[end..];
    }
    Ok(found)
}

/// Where the brace that is open at the start is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.char_indices().find_map(|(at, letter)| {
        depth += match letter {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        (depth == 0).then_some(at)
    })
}

fn kernel(head: &str, body: &str) -> Result<Kernel> {
    let (name, after) = head.split_once('(').ok_or("a kernel without parameters")?;
    let (parameters, directives) = after.rsplit_once(')').ok_or("parameters without an end")?;
    let name = name.trim().to_string();
    let mut scope = Scope::default();
    let parameters = scope.parameters(parameters)?;
    let mut statements: Vec<&str> = body.split(';').map(str::trim).collect();
    statements.retain(|statement| !scope.declares(statement));
    let mut kernel = Kernel {
        name,
        parameters,
        instructions: Vec::new(),
        meetings: Vec::new(),
        registers: Registers::default(),
        block: block(directives),
        shared: 0,
        most_shared: AtomicU32::new(DEFAULT_SHARED),
    };
    let mut unlabelled = Vec::new();
    for statement in statements {
        let mut rest = statement;
        while let Some((label, after)) =
            rest.split_once(':').filter(|(label, _)| label.starts_with('$'))
        {
            scope.labels.insert(label.to_string(), unlabelled.len() as u32);
            rest = after.trim();
        }
        if !rest.is_empty() && !rest.starts_with(".pragma") && !rest.starts_with(".loc") {
            unlabelled.push(rest);
        }
    }
    let mut wrong = Vec::new();
    for text in unlabelled {
        match instruction(text, &mut scope) {
            Ok(read) => kernel.instructions.push(read),
            Err(why) => wrong.push(format!("{}: `{text}`: {why}", kernel.name)),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    kernel.meetings = meetings(&kernel.instructions);
    kernel.shared = scope.shared;
    kernel.registers = scope.registers;
    index(kernel.registers.words.max(kernel.registers.wides))?;
    Ok(kernel)
}

/// The threads of a block that `.reqntid` names.
fn block(directives: &str) -> Option<[u32; 3]> {
    let after = directives.split_once(".reqntid")?.1;
    let mut sizes = after
        .split(|letter: char| letter == ',' || letter.is_whitespace())
        .filter_map(|number| number.parse().ok());
    Some([sizes.next()?, sizes.next().unwrap_or(1), sizes.next().unwrap_or(1)])
}

/// Registers with a prefix such as `%rd`.
struct Declared {
    file: File,
    bits: u8,
    first: usize,
    count: usize,
}

/// The names of a kernel.
#[derive(Default)]
pub struct Scope {
    pub registers: Registers,
    pub labels: HashMap<String, u32>,
    shared: usize,
    prefixes: HashMap<String, Declared>,
    offsets: HashMap<String, u64>,
    constants: HashMap<u32, u16>,
    wide_constants: HashMap<u64, u16>,
    specials: HashMap<Special, u16>,
}

impl Scope {
    fn parameters(&mut self, list: &str) -> Result<Vec<Parameter>> {
        let mut parameters = Vec::new();
        let mut end = 0usize;
        for declared in list.split(',').map(str::trim).filter(|declared| !declared.is_empty()) {
            let words: Vec<&str> = declared.split_whitespace().collect();
            let named = *words.last().ok_or("a parameter without a name")?;
            let (name, count) = match named.split_once('[') {
                Some((name, count)) => (
                    name,
                    count
                        .trim_end_matches(']')
                        .parse::<usize>()
                        .map_err(|_| "a parameter without a size")?,
                ),
                None => (named, 1),
            };
            let each = match words.iter().find(|word| {
                [".u64", ".b64", ".u32", ".b32", ".f32", ".b16", ".u16", ".b8", ".u8"]
                    .contains(word)
            }) {
                Some(&(".u64" | ".b64")) => 8,
                Some(&(".u32" | ".b32" | ".f32")) => 4,
                Some(&(".u16" | ".b16")) => 2,
                Some(_) => 1,
                None => return Err(format!("a parameter of an unknown type: {declared}")),
            };
            // `.align` of a pointer is that of what it points to.
            let pointer = words.contains(&".ptr");
            let aligned = words
                .iter()
                .position(|word| *word == ".align")
                .filter(|_| !pointer)
                .and_then(|at| words.get(at + 1)?.parse().ok());
            let offset = end.next_multiple_of(aligned.unwrap_or(each));
            end = offset + each * count;
            self.offsets.insert(name.to_string(), offset as u64);
            parameters.push(Parameter { offset, size: each * count });
        }
        Ok(parameters)
    }

    /// Takes note of registers and shared memory. Returns whether the statement declares some.
    fn declares(&mut self, statement: &str) -> bool {
        if let Some(after) = statement.strip_prefix(".shared") {
            // .shared .align 16 .b8 name[1024]
            let words: Vec<&str> = after.split_whitespace().collect();
            let align = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(16usize);
            if let Some((name, size)) = words.last().and_then(|word| word.split_once('[')) {
                let start = self.shared.next_multiple_of(align);
                self.offsets.insert(name.to_string(), start as u64);
                self.shared = start + size.trim_end_matches(']').parse::<usize>().unwrap_or(0);
            }
            return true;
        }
        let Some(after) = statement.strip_prefix(".reg") else { return false };
        let mut words = after.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let Some((prefix, count)) = words.next().and_then(|word| word.split_once('<')) else {
            return false;
        };
        let count: usize = count.trim_end_matches('>').parse().unwrap_or(0);
        let (file, bits, next) = match kind {
            ".pred" => (File::Predicates, 1, &mut self.registers.predicates),
            ".b64" => (File::Wides, 64, &mut self.registers.wides),
            ".b16" => (File::Words, 16, &mut self.registers.words),
            _ => (File::Words, 32, &mut self.registers.words),
        };
        self.prefixes.insert(prefix.to_string(), Declared { file, bits, first: *next, count });
        *next += count;
        true
    }

    /// The offset of a parameter or of a variable in shared memory.
    pub fn offset(&self, name: &str) -> Option<u64> {
        match name {
            "cube_shared" => Some(self.shared.next_multiple_of(16) as u64),
            _ => self.offsets.get(name).copied(),
        }
    }

    fn declared(&self, name: &str) -> Result<(&Declared, usize)> {
        let digits = name.find(|letter: char| letter.is_ascii_digit()).unwrap_or(name.len());
        let (prefix, number) = name.split_at(digits);
        let declared = self.prefixes.get(prefix).zip(number.parse::<usize>().ok());
        let found = declared.filter(|(declared, number)| *number < declared.count);
        found.ok_or_else(|| format!("no register {name}"))
    }

    fn register(&self, name: &str, file: File) -> Result<u16> {
        let (declared, number) = self.declared(name)?;
        if declared.file != file {
            return Err(format!("{name} has another width"));
        }
        index(declared.first + number)
    }

    /// The width of a register, if it is the name of one.
    pub fn bits(&self, name: &str) -> Option<u8> {
        Some(self.declared(name).ok()?.0.bits)
    }

    /// A register, or one that holds a constant.
    pub fn operand(&mut self, operand: &str, file: File) -> Result<u16> {
        match file {
            File::Words => self.word(operand),
            File::Wides => self.wide(operand),
            File::Predicates => self.predicate(operand),
        }
    }

    /// The same of 32 bits.
    pub fn word(&mut self, operand: &str) -> Result<u16> {
        if let Some(special) = special(operand) {
            let at = self.specials.entry(special).or_insert_with(|| {
                self.registers.words += 1;
                let at = (self.registers.words - 1) as u16;
                self.registers.specials.push((at, special));
                at
            });
            return Ok(*at);
        }
        if operand.starts_with('%') {
            return self.register(operand, File::Words);
        }
        if operand == "_" {
            self.registers.words += 1;
            return Ok((self.registers.words - 1) as u16);
        }
        let value = match operand.strip_prefix("0f") {
            Some(bits) => {
                u32::from_str_radix(bits, 16).map_err(|_| format!("no number: {operand}"))?
            }
            None => integer(operand)? as u32,
        };
        let at = self.constants.entry(value).or_insert_with(|| {
            self.registers.words += 1;
            let at = (self.registers.words - 1) as u16;
            self.registers.constants.push((at, value));
            at
        });
        Ok(*at)
    }

    /// The same of 64 bits. The name of a variable is its address.
    pub fn wide(&mut self, operand: &str) -> Result<u16> {
        if operand.starts_with('%') {
            return self.register(operand, File::Wides);
        }
        let value = match self.offset(operand) {
            Some(offset) => offset,
            None => integer(operand)? as u64,
        };
        let at = self.wide_constants.entry(value).or_insert_with(|| {
            self.registers.wides += 1;
            let at = (self.registers.wides - 1) as u16;
            self.registers.wide_constants.push((at, value));
            at
        });
        Ok(*at)
    }

    pub fn predicate(&self, operand: &str) -> Result<u16> {
        self.register(operand, File::Predicates)
    }
}

fn index(register: usize) -> Result<u16> {
    u16::try_from(register).map_err(|_| "too many registers".to_string())
}

fn integer(operand: &str) -> Result<i64> {
    let (negative, digits) =
        operand.strip_prefix('-').map_or((false, operand), |digits| (true, digits));
    let digits = digits.trim_end_matches('U');
    let value = match digits.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    let value = value.map_err(|_| format!("no number or name: {operand}"))?;
    Ok(if negative { -value } else { value })
}

fn special(name: &str) -> Option<Special> {
    if name == "%laneid" {
        return Some(Special::Lane);
    }
    let (register, axis) = name.split_once('.')?;
    let axis = ["x", "y", "z"].iter().position(|known| *known == axis)? as u8;
    Some(match register {
        "%tid" => Special::Thread(axis),
        "%ctaid" => Special::Block(axis),
        "%ntid" => Special::BlockSize(axis),
        "%nctaid" => Special::GridSize(axis),
        _ => return None,
    })
}
