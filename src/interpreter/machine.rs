//! A launch: statements, for all lanes at once that come to them.

use naga::ir::{AtomicFunction, Barrier, Block, BuiltIn, Function, Module, Statement, SwitchValue};
use naga::{Handle, Span};

use super::arithmetic::atomic;
use super::code::{Code, Index, Op, Operands, Part};
use super::error::{Fault, Outcome, What};
use super::mask::Mask;
use super::memory::{Memory, Moment, NOWHERE, Space};

/// How a launch is judged and bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The work of a launch at most. An expression or a statement takes a step for each word that it computes
    /// or moves in each invocation of a workgroup, those that wait in a branch included, and at least eight.
    /// A hundred million take about a second.
    pub steps: u64,
    /// Whether a read beyond the end is a mistake. For WGSL it is none and gives some value; here zero.
    pub reads_in_range: bool,
}

impl Default for Rules {
    /// No bound, and any read.
    fn default() -> Self {
        Self {
            steps: u64::MAX,
            reads_in_range: false,
        }
    }
}

/// A variable of a function.
pub(super) struct Local {
    /// Its number among all variables.
    pub memory: usize,
    pub words: usize,
    /// The expression that it begins with; without one, it begins with zeros.
    pub init: Option<usize>,
}

/// A function.
pub(super) struct Routine {
    /// None for the entry point.
    pub function: Option<Handle<Function>>,
    pub code: Code,
    pub locals: Vec<Local>,
    /// Words of its result.
    pub result: usize,
}

/// A builtin that the entry point asks for.
pub(super) struct Input {
    /// Which argument it belongs to, and from which word on.
    pub argument: usize,
    pub at: usize,
    pub builtin: BuiltIn,
}

/// What a variable begins with, where it is not zeros.
pub(super) type Init = Option<Vec<u32>>;

/// A kernel that is ready to run.
pub(super) struct Program {
    pub module: Module,
    /// Of the entry point.
    pub entry: usize,
    pub size: [u32; 3],
    pub lanes: usize,
    /// The entry point is the last one.
    pub routines: Vec<Routine>,
    /// The routines of the module's functions.
    pub routine_of: Vec<Option<usize>>,
    pub inputs: Vec<Input>,
    /// What private variables begin with, by their numbers.
    pub inits: Vec<Init>,
}

impl Program {
    fn function(&self, routine: &Routine) -> &Function {
        match routine.function {
            Some(handle) => &self.module.functions[handle],
            None => &self.module.entry_points[self.entry].function,
        }
    }
}

/// The registers of a function. It is never called twice at a time: WGSL has no recursion.
struct Frame {
    registers: Vec<u32>,
    /// The variable that each pointer points into.
    variables: Vec<usize>,
    result: Vec<u32>,
    returned: Mask,
}

/// The loops that are at work, and how often each has gone round.
type Loops = Vec<(Span, u64)>;

pub(super) struct Machine<'p> {
    program: &'p Program,
    rules: Rules,
    lanes: usize,
    pub memories: Vec<Memory>,
    frames: Vec<Option<Frame>>,
    moment: Moment,
    /// Steps that are left.
    left: u64,
    loops: Loops,
    /// The statement or expression at work.
    pub at: Span,
}

impl<'p> Machine<'p> {
    pub fn new(program: &'p Program, memories: Vec<Memory>, rules: &Rules) -> Self {
        let lanes = program.lanes;
        let frame = |routine: &Routine| {
            let code = &routine.code;
            let mut frame = Frame {
                registers: vec![0; code.words * lanes],
                variables: vec![0; code.ops.len()],
                result: vec![0; routine.result * lanes],
                returned: Mask::none(lanes),
            };
            for (i, (op, slot)) in code.ops.iter().zip(&code.slots).enumerate() {
                match op {
                    Op::Constant(value) if !value.is_empty() => {
                        let to = &mut frame.registers[slot.at * lanes..][..slot.words * lanes];
                        for to in to.chunks_exact_mut(value.len()) {
                            to.copy_from_slice(value);
                        }
                    }
                    Op::Variable(variable) => frame.variables[i] = *variable,
                    _ => {}
                }
            }
            Some(frame)
        };
        Self {
            program,
            rules: *rules,
            lanes,
            memories,
            frames: program.routines.iter().map(frame).collect(),
            moment: Moment::default(),
            left: rules.steps,
            loops: Vec::new(),
            at: Span::UNDEFINED,
        }
    }

    /// Runs a workgroup.
    pub fn run_group(&mut self, group: [u32; 3], groups: [u32; 3]) -> Outcome {
        for count in [
            &mut self.moment.group,
            &mut self.moment.storage,
            &mut self.moment.workgroup,
        ] {
            *count = count.wrapping_add(1);
        }
        let program = self.program;
        self.spend(1)?;
        for i in 0..self.memories.len() {
            let memory = &mut self.memories[i];
            let words = memory.words.len();
            match memory.space {
                Space::Workgroup => memory.words.fill(0),
                Space::Private => match program.inits.get(i) {
                    Some(Some(init)) if !init.is_empty() => {
                        for to in memory.words.chunks_exact_mut(init.len()) {
                            to.copy_from_slice(init);
                        }
                    }
                    Some(_) => memory.words.fill(0),
                    // Of a function, which does it.
                    None => continue,
                },
                Space::Constant | Space::Storage => continue,
            }
            self.spend_words(words)?;
        }
        let entry = program.routines.len() - 1;
        if let (Some(routine), Some(Some(frame))) =
            (program.routines.last(), self.frames.last_mut())
        {
            for (i, op) in routine.code.ops.iter().enumerate() {
                let Op::Argument(argument) = *op else {
                    continue;
                };
                let slot = routine.code.slots[i];
                let registers = &mut frame.registers[slot.at * self.lanes..];
                for input in program.inputs.iter().filter(|i| i.argument == argument) {
                    for lane in 0..self.lanes {
                        let (value, words) =
                            builtin(input.builtin, lane as u32, program.size, group, groups);
                        let to = &mut registers[lane * slot.words + input.at..][..words];
                        to.copy_from_slice(&value[..words]);
                    }
                }
            }
        }
        self.call(entry, &Mask::all(self.lanes))
    }

    /// Takes the cost of some words in every lane.
    fn spend(&mut self, words: usize) -> Outcome {
        self.spend_words((words.max(1) * self.lanes).max(8))
    }

    fn spend_words(&mut self, words: usize) -> Outcome {
        match self.left.checked_sub(words as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.too_long()),
        }
    }

    #[cold]
    fn too_long(&mut self) -> Box<Fault> {
        let steps = self.rules.steps;
        let longest = self.loops.iter().max_by_key(|(_, rounds)| *rounds);
        let message = match longest {
            Some(&(span, rounds)) => {
                self.at = span;
                format!(
                    "the launch takes more than {steps} steps: this loop was in its iteration {rounds}"
                )
            }
            None => format!("the launch takes more than {steps} steps"),
        };
        Fault::new(What::Steps, message)
    }

    /// Runs a routine whose arguments are in its registers; its result is in its frame afterwards.
    fn call(&mut self, number: usize, mask: &Mask) -> Outcome {
        let program = self.program;
        let routine = &program.routines[number];
        // It is there: a routine never runs twice at a time.
        let Some(mut frame) = self.frames[number].take() else {
            return Err(Fault::new(What::Steps, "a function calls itself"));
        };
        frame.returned = Mask::none(self.lanes);
        for local in &routine.locals {
            self.spend(local.words)?;
            let words = &mut self.memories[local.memory].words;
            match local.init {
                Some(init) => {
                    let slot = routine.code.slots[init];
                    let from = &frame.registers[slot.at * self.lanes..];
                    words.copy_from_slice(&from[..local.words * self.lanes]);
                }
                None => words.fill(0),
            }
        }
        let mut mask = *mask;
        let body = &program.function(routine).body;
        let mut continued = Mask::none(self.lanes);
        self.block(routine, &mut frame, body, &mut mask, &mut continued)?;
        self.frames[number] = Some(frame);
        Ok(())
    }

    /// Runs a block for the lanes of `mask`, which afterwards has those that go on behind it. `continued`
    /// gets those that go on with the next round of the loop around it.
    fn block(
        &mut self,
        routine: &'p Routine,
        frame: &mut Frame,
        block: &'p Block,
        mask: &mut Mask,
        continued: &mut Mask,
    ) -> Outcome {
        for (statement, span) in block.span_iter() {
            if !mask.any() {
                return Ok(());
            }
            self.at = *span;
            match statement {
                Statement::Emit(range) => {
                    let expressions = &self.program.function(routine).expressions;
                    for expression in range.clone() {
                        self.at = expressions.get_span(expression);
                        self.evaluate(&routine.code, frame, expression.index(), mask)?;
                    }
                }
                Statement::Block(inner) => self.block(routine, frame, inner, mask, continued)?,
                Statement::If {
                    condition,
                    accept,
                    reject,
                } => {
                    self.spend(1)?;
                    let holds = self.words(&routine.code, frame, condition.index());
                    let mut yes = mask.filter(|lane| holds[lane] != 0);
                    mask.remove(&yes);
                    self.block(routine, frame, accept, &mut yes, continued)?;
                    self.block(routine, frame, reject, mask, continued)?;
                    mask.add(&yes);
                }
                Statement::Switch { selector, cases } => {
                    self.spend(cases.len())?;
                    let of = |value: &SwitchValue| match *value {
                        SwitchValue::I32(value) => Some(value as u32),
                        SwitchValue::U32(value) => Some(value),
                        SwitchValue::Default => None,
                    };
                    let mut falling = Mask::none(self.lanes);
                    let mut others = *mask;
                    let selected = self.words(&routine.code, frame, selector.index());
                    for case in cases {
                        others = others.filter(|lane| of(&case.value) != Some(selected[lane]));
                    }
                    for case in cases {
                        let selected = self.words(&routine.code, frame, selector.index());
                        let mut live = match of(&case.value) {
                            Some(value) => mask.filter(|lane| selected[lane] == value),
                            None => others,
                        };
                        live.add(&falling);
                        self.block(routine, frame, &case.body, &mut live, continued)?;
                        falling = match case.fall_through {
                            true => live,
                            false => Mask::none(self.lanes),
                        };
                    }
                    mask.remove(&frame.returned);
                    mask.remove(continued);
                }
                Statement::Loop {
                    body,
                    continuing,
                    break_if,
                } => {
                    let mut live = *mask;
                    self.loops.push((*span, 0));
                    while live.any() {
                        if let Some((_, rounds)) = self.loops.last_mut() {
                            *rounds += 1;
                        }
                        self.spend(1)?;
                        let mut next = Mask::none(self.lanes);
                        self.block(routine, frame, body, &mut live, &mut next)?;
                        live.add(&next);
                        let mut never = Mask::none(self.lanes);
                        self.block(routine, frame, continuing, &mut live, &mut never)?;
                        if let (Some(condition), true) = (break_if, live.any()) {
                            let ends = self.words(&routine.code, frame, condition.index());
                            live = live.filter(|lane| ends[lane] == 0);
                        }
                    }
                    self.loops.pop();
                    mask.remove(&frame.returned);
                }
                Statement::Break => *mask = Mask::none(self.lanes),
                Statement::Continue => {
                    continued.add(mask);
                    *mask = Mask::none(self.lanes);
                }
                Statement::Return { value } => {
                    if let Some(value) = value {
                        self.spend(routine.result)?;
                        let words = routine.result;
                        let slot = routine.code.slots[value.index()];
                        let from = &frame.registers[slot.at * self.lanes..];
                        for lane in mask.lanes() {
                            frame.result[lane * words..][..words]
                                .copy_from_slice(&from[lane * words..][..words]);
                        }
                    }
                    frame.returned.add(mask);
                    *mask = Mask::none(self.lanes);
                }
                Statement::ControlBarrier(barrier) => self.barrier(*barrier, mask)?,
                Statement::Store { pointer, value } => {
                    self.store(&routine.code, frame, pointer.index(), value.index(), mask)?;
                }
                Statement::Atomic {
                    pointer,
                    fun,
                    value,
                    result,
                } => {
                    let result = result.map(Handle::index);
                    let operands = (pointer.index(), value.index(), result);
                    self.atomic(&routine.code, frame, operands, fun, mask)?;
                }
                Statement::WorkGroupUniformLoad { pointer, result } => {
                    self.barrier(Barrier::WORK_GROUP, mask)?;
                    let (pointer, result) = (pointer.index(), result.index());
                    self.load(&routine.code, frame, pointer, result, mask)?;
                    self.barrier(Barrier::WORK_GROUP, mask)?;
                }
                Statement::Call {
                    function,
                    arguments,
                    result,
                } => {
                    self.spend(1)?;
                    let number = self.program.routine_of[function.index()].unwrap_or_default();
                    let callee = &self.program.routines[number];
                    if let Some(to) = &mut self.frames[number] {
                        for (i, op) in callee.code.ops.iter().enumerate() {
                            let Op::Argument(argument) = *op else {
                                continue;
                            };
                            let argument = arguments[argument].index();
                            let from = routine.code.slots[argument];
                            let at = callee.code.slots[i].at;
                            let words = from.words * self.lanes;
                            to.registers[at * self.lanes..][..words]
                                .copy_from_slice(&frame.registers[from.at * self.lanes..][..words]);
                            to.variables[i] = frame.variables[argument];
                        }
                    }
                    self.call(number, mask)?;
                    if let (Some(result), Some(from)) = (result, &self.frames[number]) {
                        let slot = routine.code.slots[result.index()];
                        let to = &mut frame.registers[slot.at * self.lanes..];
                        to[..from.result.len()].copy_from_slice(&from.result);
                    }
                }
                // The kernel would have been refused.
                _ => return Err(Fault::new(What::Steps, "this statement is not known")),
            }
        }
        Ok(())
    }

    fn words<'f>(&self, code: &Code, frame: &'f Frame, expression: usize) -> &'f [u32] {
        let slot = code.slots[expression];
        &frame.registers[slot.at * self.lanes..][..slot.words * self.lanes]
    }

    /// All invocations meet, and see what the others have done to some kinds of memory.
    fn barrier(&mut self, barrier: Barrier, mask: &Mask) -> Outcome {
        self.spend(1)?;
        if *mask != Mask::all(self.lanes) {
            let message = "not all invocations come to this barrier";
            return Err(Fault::new(What::Barrier, message));
        }
        if barrier.contains(Barrier::STORAGE) {
            self.moment.storage = self.moment.storage.wrapping_add(1);
        }
        if barrier.contains(Barrier::WORK_GROUP) {
            self.moment.workgroup = self.moment.workgroup.wrapping_add(1);
        }
        Ok(())
    }

    fn load(
        &mut self,
        code: &Code,
        frame: &mut Frame,
        pointer: usize,
        result: usize,
        mask: &Mask,
    ) -> Outcome {
        let (slot, from) = (code.slots[result], code.slots[pointer]);
        self.spend(slot.words)?;
        let variable = frame.variables[pointer];
        if self.rules.reads_in_range {
            let at = self.words(code, frame, pointer);
            if let Some(lane) = mask.lanes().find(|&lane| at[lane] == NOWHERE) {
                return Err(self.beyond(code, frame, pointer, lane, What::Read));
            }
        }
        let (before, to) = frame.registers.split_at_mut(slot.at * self.lanes);
        let at = &before[from.at * self.lanes..][..self.lanes];
        let atomic = from.atomic.is_some();
        self.memories[variable].load((at, slot.words), mask, &self.moment, atomic, to)
    }

    fn store(
        &mut self,
        code: &Code,
        frame: &Frame,
        pointer: usize,
        value: usize,
        mask: &Mask,
    ) -> Outcome {
        let slot = code.slots[value];
        self.spend(slot.words)?;
        let at = self.words(code, frame, pointer);
        if let Some(lane) = mask.lanes().find(|&lane| at[lane] == NOWHERE) {
            return Err(self.beyond(code, frame, pointer, lane, What::Write));
        }
        let value = self.words(code, frame, value);
        let atomic = code.slots[pointer].atomic.is_some();
        let memory = &mut self.memories[frame.variables[pointer]];
        memory.store((at, slot.words), mask, &self.moment, atomic, value)?;
        // A device may store a vector where only a component of it is assigned to.
        if let Op::Part(Part {
            base,
            vector: Some(words),
            ..
        }) = code.ops[pointer]
            && memory.is_shared()
        {
            let slot = code.slots[base];
            let at = &frame.registers[slot.at * self.lanes..][..self.lanes];
            memory.touch((at, words), mask, &self.moment)?;
        }
        Ok(())
    }

    /// An operation that cannot be cut in two: by one lane after the other.
    fn atomic(
        &mut self,
        code: &Code,
        frame: &mut Frame,
        (pointer, value, result): (usize, usize, Option<usize>),
        function: &AtomicFunction,
        mask: &Mask,
    ) -> Outcome {
        self.spend(2)?;
        let at = self.words(code, frame, pointer);
        if let Some(lane) = mask.lanes().find(|&lane| at[lane] == NOWHERE) {
            return Err(self.beyond(code, frame, pointer, lane, What::Write));
        }
        let kind = code.slots[pointer].atomic;
        let Some(operation) = kind.and_then(|kind| atomic(*function, kind)) else {
            return Err(Fault::new(What::Steps, "this operation is not known"));
        };
        let expected = match function {
            AtomicFunction::Exchange { compare } => compare.map(Handle::index),
            _ => None,
        };
        let variable = frame.variables[pointer];
        for lane in mask.lanes() {
            let of_lane = |e: usize| frame.registers[code.slots[e].at * self.lanes + lane];
            let memory = &mut self.memories[variable];
            let place = memory.place(of_lane(pointer), lane);
            let old = memory.words[place];
            let exchanged = expected.is_none_or(|expected| of_lane(expected) == old);
            if exchanged {
                memory.words[place] = operation(old, of_lane(value));
            }
            if let Some(result) = result {
                let slot = code.slots[result];
                let to = &mut frame.registers[slot.at * self.lanes + lane * slot.words..];
                to[0] = old;
                if slot.words == 2 {
                    to[1] = u32::from(exchanged);
                }
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, code: &Code, frame: &mut Frame, number: usize, mask: &Mask) -> Outcome {
        let (slot, lanes) = (code.slots[number], self.lanes);
        let begin = slot.at * lanes;
        match &code.ops[number] {
            Op::Pure(pure) => {
                self.spend(slot.words)?;
                let (before, to) = frame.registers.split_at_mut(begin);
                let operands = Operands {
                    slots: &code.slots,
                    before,
                    lanes,
                };
                pure.run(&operands, &mut to[..slot.words * lanes], slot.words);
            }
            Op::Load(pointer) => self.load(code, frame, *pointer, number, mask)?,
            Op::Part(part) => {
                self.spend(1)?;
                let variable = frame.variables[part.base];
                frame.variables[number] = variable;
                let size = self.memories[variable].size as u64;
                let (before, to) = frame.registers.split_at_mut(begin);
                let of = |e: usize| &before[code.slots[e].at * lanes..][..lanes];
                let base = of(part.base);
                let place = |base: u32, index: u32| {
                    let at = u64::from(base) + u64::from(index) * u64::from(part.stride);
                    let inside = match part.count {
                        Some(count) => index < count,
                        None => at + u64::from(part.stride) <= size,
                    };
                    match inside && base != NOWHERE {
                        true => at as u32,
                        false => NOWHERE,
                    }
                };
                match part.index {
                    Index::Fixed(index) => {
                        for (to, &base) in to.iter_mut().zip(base) {
                            *to = place(base, index);
                        }
                    }
                    Index::Of(index) => {
                        for (to, (&base, &index)) in to.iter_mut().zip(base.iter().zip(of(index))) {
                            *to = place(base, index);
                        }
                    }
                }
            }
            Op::Pick {
                base,
                index,
                count,
                stride,
            } => {
                self.spend(slot.words)?;
                let asked = self.words(code, frame, *index);
                if self.rules.reads_in_range
                    && let Some(lane) = mask.lanes().find(|&lane| asked[lane] >= *count)
                {
                    let index = shown(asked[lane]);
                    return Err(Fault::new(
                        What::Read,
                        format!(
                            "invocation {lane} reads element {index} of a value that has {count}"
                        ),
                    ));
                }
                let (before, to) = frame.registers.split_at_mut(begin);
                let of = |e: usize| {
                    let slot = code.slots[e];
                    (&before[slot.at * lanes..][..slot.words * lanes], slot.words)
                };
                let ((from, n), (index, _)) = (of(*base), of(*index));
                for (lane, to) in to[..slot.words * lanes]
                    .chunks_exact_mut(slot.words)
                    .enumerate()
                {
                    match index[lane] < *count {
                        true => {
                            let at = lane * n + index[lane] as usize * stride;
                            to.copy_from_slice(&from[at..at + slot.words]);
                        }
                        false => to.fill(0),
                    }
                }
            }
            Op::Length { pointer, stride } => {
                self.spend(1)?;
                let size = self.memories[frame.variables[*pointer]].size;
                let (before, to) = frame.registers.split_at_mut(begin);
                let at = &before[code.slots[*pointer].at * lanes..][..lanes];
                for (to, &at) in to.iter_mut().zip(at) {
                    *to = (size as u32).saturating_sub(at) / stride;
                }
            }
            Op::Constant(_) | Op::Given | Op::Argument(_) | Op::Variable(_) => {}
        }
        Ok(())
    }

    /// An access of a lane to what its pointer does not reach.
    #[cold]
    fn beyond(
        &self,
        code: &Code,
        frame: &Frame,
        pointer: usize,
        lane: usize,
        kind: What,
    ) -> Box<Fault> {
        let memory = &self.memories[frame.variables[pointer]];
        let does = match kind {
            What::Read => "reads",
            _ => "writes",
        };
        let mut message = format!("invocation {lane} {does} beyond the end of {}", memory.name);
        // The index that led there, unless a caller has applied it.
        let mut at = pointer;
        while let Op::Part(part) = code.ops[at] {
            let base = self.words(code, frame, part.base)[lane];
            if base == NOWHERE {
                at = part.base;
                continue;
            }
            let index = match part.index {
                Index::Fixed(index) => index,
                Index::Of(index) => self.words(code, frame, index)[lane],
            };
            let room = (memory.size as u32).saturating_sub(base) / part.stride.max(1);
            let count = part.count.unwrap_or(room);
            message += &format!(": element {} of {count}", shown(index));
            break;
        }
        Fault::new(kind, message)
    }
}

/// An index; one that is huge was a negative number.
fn shown(index: u32) -> String {
    match i32::try_from(index) {
        Ok(index) => index.to_string(),
        Err(_) => format!("{index} ({} as i32)", index as i32),
    }
}

/// A builtin of a lane, and its words.
fn builtin(
    builtin: BuiltIn,
    lane: u32,
    size: [u32; 3],
    group: [u32; 3],
    groups: [u32; 3],
) -> ([u32; 3], usize) {
    let [w, h, _] = size;
    let local = [lane % w, lane / w % h, lane / w / h];
    match builtin {
        BuiltIn::LocalInvocationIndex => ([lane, 0, 0], 1),
        BuiltIn::LocalInvocationId => (local, 3),
        BuiltIn::GlobalInvocationId => (
            std::array::from_fn(|i| group[i].wrapping_mul(size[i]).wrapping_add(local[i])),
            3,
        ),
        BuiltIn::WorkGroupId => (group, 3),
        BuiltIn::WorkGroupSize => (size, 3),
        // All others have been refused.
        _ => (groups, 3),
    }
}

/// Whether [`builtin`] knows one.
pub(super) fn knows(builtin: BuiltIn) -> bool {
    matches!(
        builtin,
        BuiltIn::LocalInvocationIndex
            | BuiltIn::LocalInvocationId
            | BuiltIn::GlobalInvocationId
            | BuiltIn::WorkGroupId
            | BuiltIn::WorkGroupSize
            | BuiltIn::NumWorkGroups
    )
}
