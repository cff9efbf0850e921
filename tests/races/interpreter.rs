//! A slow device that sees everything: it runs a kernel as naga has read it, all invocations of a workgroup
//! side by side, and remembers of every word of shared memory who has read and who has written it.
//!
//! Two accesses to a word are a race if at least one of them writes, they are not of the same invocation,
//! and nothing orders them: no barrier for that kind of memory lies between them, or they are of different
//! workgroups of a launch, which nothing orders at all. That does not depend on who happened to come first.
//! A driver in software runs the invocations of a workgroup in some order of its own and may get the right
//! numbers from a kernel that a GPU would get wrong; here a race is found in any case.
//!
//! It knows what the kernels need, and returns an error for all else.

use std::collections::HashMap;

use wgpu::naga::back::pipeline_constants::process_overrides;
use wgpu::naga::front::wgsl;
use wgpu::naga::ir::{
    AddressSpace, ArraySize, Barrier, BinaryOperator, Binding, Block, BuiltIn, Expression,
    Function, GlobalVariable, Literal, MathFunction, Module, RelationalFunction, ScalarKind,
    ShaderStage, Statement, Type, TypeInner, UnaryOperator,
};
use wgpu::naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use wgpu::naga::{Handle, Span};

/// A kernel with its constants set.
pub struct Kernel {
    text: String,
    module: Module,
    info: ModuleInfo,
}

/// What each binding holds.
pub type Buffers = HashMap<u32, Vec<u32>>;

/// What went wrong, and where in the text.
#[derive(Clone, Debug)]
pub struct Finding {
    pub what: String,
    /// From 1.
    pub line: u32,
}

impl Kernel {
    /// Reads and checks a module, as wgpu does, for one of its entry points.
    pub fn new(text: &str, entry: &str, constants: &[(String, f64)]) -> Result<Self, String> {
        let module = wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
        let info = validator
            .validate(&module)
            .map_err(|e| e.emit_to_string(text))?;
        // A kernel need not know all of them.
        let known = |name: &str| {
            module
                .overrides
                .iter()
                .any(|(_, o)| o.name.as_deref() == Some(name))
        };
        let constants = constants
            .iter()
            .filter(|(name, _)| known(name))
            .cloned()
            .collect();
        let entry = Some((ShaderStage::Compute, entry));
        let (module, info) =
            process_overrides(&module, &info, entry, &constants).map_err(|e| e.to_string())?;
        Ok(Self {
            text: text.to_owned(),
            module: module.into_owned(),
            info: info.into_owned(),
        })
    }

    /// One launch. `buffers` are as it leaves them.
    pub fn launch(
        &self,
        entry: &str,
        buffers: &mut Buffers,
        groups: [u32; 3],
    ) -> Result<(), Finding> {
        let position = self
            .module
            .entry_points
            .iter()
            .position(|e| e.name == entry);
        let index = position.expect("the module has this entry point");
        let entry = &self.module.entry_points[index];
        let size = entry.workgroup_size;
        let lanes = size.iter().product::<u32>() as usize;
        let mut memories = Vec::new();
        let mut memory_of = HashMap::new();
        for (handle, variable) in self.module.global_variables.iter() {
            let words = match (&variable.binding, variable.space) {
                (Some(binding), _) => match buffers.remove(&binding.binding) {
                    Some(words) => words,
                    // Of an entry point that is not this one.
                    None => continue,
                },
                (None, AddressSpace::WorkGroup) => vec![0; self.words(variable.ty)],
                (None, _) => vec![0; self.words(variable.ty) * lanes],
            };
            memory_of.insert(handle, memories.len());
            memories.push(Memory::new(variable, words));
        }
        let mut machine = Machine {
            kernel: self,
            lanes,
            memory_of,
            memories,
            locals: Vec::new(),
            group: 0,
            epochs: Epochs::default(),
            at: Span::UNDEFINED,
        };
        let mut outcome = Ok(());
        for z in 0..groups[2] {
            for y in 0..groups[1] {
                for x in 0..groups[0] {
                    let builtins = Builtins {
                        groups,
                        group: [x, y, z],
                        size,
                    };
                    if outcome.is_ok() {
                        let info = self.info.get_entry_point(index);
                        outcome = machine.run_group(&entry.function, info, &builtins);
                    }
                }
            }
        }
        let location = machine.at.location(&self.text);
        for (handle, at) in machine.memory_of {
            if let Some(binding) = &self.module.global_variables[handle].binding {
                let words = std::mem::take(&mut machine.memories[at].words);
                buffers.insert(binding.binding, words);
            }
        }
        outcome.map_err(|what| Finding {
            what,
            line: location.line_number,
        })
    }

    fn inner(&self, ty: Handle<Type>) -> &TypeInner {
        &self.module.types[ty].inner
    }

    /// Words of a type, as it lies in memory; values have the same layout.
    fn words(&self, ty: Handle<Type>) -> usize {
        self.words_of(self.inner(ty))
    }

    fn words_of(&self, inner: &TypeInner) -> usize {
        match *inner {
            TypeInner::Scalar(_) => 1,
            TypeInner::Vector { size, .. } => size as usize,
            TypeInner::Matrix { columns, rows, .. } => columns as usize * column(rows as usize),
            TypeInner::Array {
                size: ArraySize::Constant(count),
                stride,
                ..
            } => count.get() as usize * stride as usize / 4,
            TypeInner::Array { .. } => 0,
            TypeInner::Struct { span, .. } => (span as usize).div_ceil(4),
            ref other => panic!("no such value is known: {other:?}"),
        }
    }
}

/// Words of a column of a matrix.
fn column(rows: usize) -> usize {
    if rows == 3 { 4 } else { rows }
}

/// Who has accessed a word.
#[derive(Clone, Copy, Default)]
struct Cell {
    /// When, counted in barriers, and by whom it was last written and read; a second reader of the same
    /// time shows as `MANY`.
    written: u32,
    writer: u32,
    read: u32,
    reader: u32,
    /// The workgroups, counted from 1, that have written and read it in this launch.
    writing_group: u32,
    reading_group: u32,
}

const MANY: u32 = u32::MAX;

struct Memory {
    name: String,
    space: AddressSpace,
    words: Vec<u32>,
    /// Of shared memory.
    cells: Vec<Cell>,
}

impl Memory {
    fn new(variable: &GlobalVariable, words: Vec<u32>) -> Self {
        let shared = matches!(
            variable.space,
            AddressSpace::Storage { .. } | AddressSpace::WorkGroup
        );
        Self {
            name: variable.name.clone().unwrap_or_default(),
            space: variable.space,
            cells: vec![Cell::default(); if shared { words.len() } else { 0 }],
            words,
        }
    }

    /// Where a word of the variable lies: every lane has a private one of its own.
    fn place(&self, word: usize, lane: usize, lanes: usize) -> usize {
        match self.space {
            AddressSpace::Private => self.words.len() / lanes * lane + word,
            _ => word,
        }
    }
}

/// How many barriers there have been for each kind of memory; a new workgroup counts as one.
#[derive(Default)]
struct Epochs {
    storage: u32,
    workgroup: u32,
}

struct Builtins {
    groups: [u32; 3],
    group: [u32; 3],
    size: [u32; 3],
}

impl Builtins {
    fn of(&self, builtin: BuiltIn, lane: usize) -> Result<Vec<u32>, String> {
        let [w, h, _] = self.size;
        let lane = lane as u32;
        let local = [lane % w, lane / w % h, lane / w / h];
        let global = std::array::from_fn::<_, 3, _>(|i| self.group[i] * self.size[i] + local[i]);
        Ok(match builtin {
            BuiltIn::LocalInvocationIndex => vec![lane],
            BuiltIn::LocalInvocationId => local.to_vec(),
            BuiltIn::GlobalInvocationId => global.to_vec(),
            BuiltIn::WorkGroupId => self.group.to_vec(),
            BuiltIn::NumWorkGroups => self.groups.to_vec(),
            other => return Err(format!("{other:?} is not known")),
        })
    }
}

/// A value of every lane, lane after lane.
#[derive(Clone, Debug)]
enum Value {
    Data { words: usize, bits: Vec<u32> },
    Pointer { base: Base, at: Vec<usize> },
}

#[derive(Clone, Copy, Debug)]
enum Base {
    /// One of the memories.
    Global(usize),
    /// One of the local variables that are alive.
    Local(usize),
}

/// The place of what an index beyond the end points to. Reading it gives some value, so zero will do;
/// writing it is a mistake.
const NOWHERE: usize = usize::MAX;

type Mask = Vec<bool>;
type Outcome<T = ()> = Result<T, String>;

struct Frame<'k> {
    function: &'k Function,
    info: &'k FunctionInfo,
    arguments: Vec<Value>,
    values: Vec<Option<Value>>,
    /// Where its local variables begin among those that are alive.
    locals: usize,
    returned: Mask,
    result: Option<Value>,
}

impl Frame<'_> {
    fn inner<'a>(&'a self, module: &'a Module, expression: Handle<Expression>) -> &'a TypeInner {
        self.info[expression].ty.inner_with(&module.types)
    }
}

struct Machine<'k> {
    kernel: &'k Kernel,
    lanes: usize,
    memory_of: HashMap<Handle<GlobalVariable>, usize>,
    memories: Vec<Memory>,
    locals: Vec<(usize, Vec<u32>)>,
    /// From 1.
    group: u32,
    epochs: Epochs,
    /// The statement or expression at work.
    at: Span,
}

impl<'k> Machine<'k> {
    fn run_group(
        &mut self,
        function: &'k Function,
        info: &'k FunctionInfo,
        builtins: &Builtins,
    ) -> Outcome {
        self.group += 1;
        self.epochs.storage += 1;
        self.epochs.workgroup += 1;
        for memory in &mut self.memories {
            if matches!(
                memory.space,
                AddressSpace::WorkGroup | AddressSpace::Private
            ) {
                memory.words.fill(0);
            }
        }
        let mut arguments = Vec::new();
        for argument in &function.arguments {
            let Some(Binding::BuiltIn(builtin)) = argument.binding else {
                return Err("an argument is no builtin".to_owned());
            };
            let mut bits = Vec::new();
            for lane in 0..self.lanes {
                bits.extend(builtins.of(builtin, lane)?);
            }
            let words = bits.len() / self.lanes;
            arguments.push(Value::Data { words, bits });
        }
        let mask = vec![true; self.lanes];
        self.call(function, info, arguments, &mask).map(|_| ())
    }

    fn call(
        &mut self,
        function: &'k Function,
        info: &'k FunctionInfo,
        arguments: Vec<Value>,
        mask: &Mask,
    ) -> Outcome<Option<Value>> {
        let mut frame = Frame {
            function,
            info,
            arguments,
            values: vec![None; function.expressions.len()],
            locals: self.locals.len(),
            returned: vec![false; self.lanes],
            result: None,
        };
        for (_, variable) in function.local_variables.iter() {
            let words = self.kernel.words(variable.ty);
            let bits = match variable.init {
                Some(init) => match self.value(&frame, init)? {
                    Value::Data { bits, .. } => bits,
                    Value::Pointer { .. } => return Err("a pointer in a variable".to_owned()),
                },
                None => vec![0; words * self.lanes],
            };
            self.locals.push((words, bits));
        }
        let mut mask = mask.clone();
        self.block(&mut frame, &function.body, &mut mask, &mut Vec::new())?;
        self.locals.truncate(frame.locals);
        Ok(frame.result)
    }

    /// Runs a block for the lanes of `mask`, which afterwards has those that go on behind it. `continued`
    /// gets those that go on with the next round of the loop around it.
    fn block(
        &mut self,
        frame: &mut Frame<'k>,
        block: &'k Block,
        mask: &mut Mask,
        continued: &mut Mask,
    ) -> Outcome {
        for (statement, span) in block.span_iter() {
            if !mask.contains(&true) {
                return Ok(());
            }
            self.at = *span;
            match statement {
                Statement::Emit(range) => {
                    for expression in range.clone() {
                        self.at = frame.function.expressions.get_span(expression);
                        let value = self.evaluate(frame, expression, mask)?;
                        frame.values[expression.index()] = Some(value);
                    }
                }
                Statement::Block(inner) => self.block(frame, inner, mask, continued)?,
                Statement::If {
                    condition,
                    accept,
                    reject,
                } => {
                    let holds = self.bits(frame, *condition)?;
                    let mut yes: Mask = (mask.iter().zip(&holds))
                        .map(|(&m, &h)| m && h != 0)
                        .collect();
                    let mut no: Mask = (mask.iter().zip(&holds))
                        .map(|(&m, &h)| m && h == 0)
                        .collect();
                    self.block(frame, accept, &mut yes, continued)?;
                    self.block(frame, reject, &mut no, continued)?;
                    *mask = yes.iter().zip(&no).map(|(&yes, &no)| yes || no).collect();
                }
                Statement::Loop {
                    body,
                    continuing,
                    break_if,
                } => {
                    let mut live = mask.clone();
                    while live.contains(&true) {
                        let mut next = vec![false; self.lanes];
                        self.block(frame, body, &mut live, &mut next)?;
                        for (live, next) in live.iter_mut().zip(&next) {
                            *live |= next;
                        }
                        self.block(frame, continuing, &mut live, &mut Vec::new())?;
                        if let (Some(condition), true) = (break_if, live.contains(&true)) {
                            let ends = self.bits(frame, *condition)?;
                            for (live, end) in live.iter_mut().zip(&ends) {
                                *live &= *end == 0;
                            }
                        }
                    }
                    for (mask, returned) in mask.iter_mut().zip(&frame.returned) {
                        *mask &= !returned;
                    }
                }
                Statement::Break => mask.fill(false),
                Statement::Continue => {
                    for (continued, mask) in continued.iter_mut().zip(mask) {
                        *continued |= std::mem::take(mask);
                    }
                    return Ok(());
                }
                Statement::Return { value } => {
                    if let Some(value) = value {
                        let value = self.value(frame, *value)?;
                        frame.result = Some(match frame.result.take() {
                            None => value,
                            Some(others) => merged(&others, &value, mask)?,
                        });
                    }
                    for (returned, mask) in frame.returned.iter_mut().zip(mask) {
                        *returned |= std::mem::take(mask);
                    }
                    return Ok(());
                }
                Statement::ControlBarrier(barrier) => self.barrier(*barrier, mask)?,
                Statement::Store { pointer, value } => {
                    let whole = self.vector_around(frame, *pointer)?;
                    let pointer = self.value(frame, *pointer)?;
                    let value = self.value(frame, *value)?;
                    self.store(&pointer, &value, mask)?;
                    if let Some((words, vector)) = whole {
                        let value = self.load(&vector, words, mask)?;
                        self.store(&vector, &value, mask)?;
                    }
                }
                Statement::WorkGroupUniformLoad { pointer, result } => {
                    self.barrier(Barrier::WORK_GROUP, mask)?;
                    let words = self
                        .kernel
                        .words_of(frame.inner(&self.kernel.module, *result));
                    let pointer = self.value(frame, *pointer)?;
                    let value = self.load(&pointer, words, mask)?;
                    frame.values[result.index()] = Some(value);
                    self.barrier(Barrier::WORK_GROUP, mask)?;
                }
                Statement::Call {
                    function,
                    arguments,
                    result,
                } => {
                    let mut values = Vec::with_capacity(arguments.len());
                    for argument in arguments {
                        values.push(self.value(frame, *argument)?);
                    }
                    let callee = &self.kernel.module.functions[*function];
                    let returned = self.call(callee, &self.kernel.info[*function], values, mask)?;
                    if let Some(result) = result {
                        frame.values[result.index()] = returned;
                    }
                }
                other => return Err(format!("no such statement is known: {other:?}")),
            }
        }
        Ok(())
    }

    /// All invocations meet, and see what the others have done to some kinds of memory.
    fn barrier(&mut self, barrier: Barrier, mask: &Mask) -> Outcome {
        if mask.contains(&false) {
            return Err("not all invocations come to this barrier".to_owned());
        }
        if barrier.contains(Barrier::STORAGE) {
            self.epochs.storage += 1;
        }
        if barrier.contains(Barrier::WORK_GROUP) {
            self.epochs.workgroup += 1;
        }
        if (barrier - Barrier::STORAGE - Barrier::WORK_GROUP).is_empty() {
            Ok(())
        } else {
            Err(format!("no such barrier is known: {barrier:?}"))
        }
    }

    fn load(&mut self, pointer: &Value, words: usize, mask: &Mask) -> Outcome<Value> {
        let Value::Pointer { base, at } = pointer else {
            return Err("what is loaded from is no pointer".to_owned());
        };
        let mut bits = vec![0; words * self.lanes];
        for lane in 0..self.lanes {
            let place = at[lane];
            if !mask[lane] || place == NOWHERE {
                continue;
            }
            for word in 0..words {
                bits[lane * words + word] = match *base {
                    Base::Local(local) => {
                        let (size, bits) = &self.locals[local];
                        bits[lane * size + place + word]
                    }
                    Base::Global(memory) => {
                        let place = self.memories[memory].place(place + word, lane, self.lanes);
                        self.read(memory, place, lane as u32)?
                    }
                };
            }
        }
        Ok(Value::Data { words, bits })
    }

    fn store(&mut self, pointer: &Value, value: &Value, mask: &Mask) -> Outcome {
        let (Value::Pointer { base, at }, Value::Data { words, bits }) = (pointer, value) else {
            return Err("no such store is known".to_owned());
        };
        for lane in (0..self.lanes).filter(|&lane| mask[lane]) {
            if at[lane] == NOWHERE {
                return Err(format!("invocation {lane} writes beyond the end"));
            }
            for word in 0..*words {
                let value = bits[lane * words + word];
                match *base {
                    Base::Local(local) => {
                        let (size, bits) = &mut self.locals[local];
                        bits[lane * *size + at[lane] + word] = value;
                    }
                    Base::Global(memory) => {
                        let place = self.memories[memory].place(at[lane] + word, lane, self.lanes);
                        self.write(memory, place, lane as u32, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The vector that a pointer points into a component of, and its words: a device may store all of them
    /// where only that one is assigned to.
    fn vector_around(
        &self,
        frame: &Frame<'k>,
        pointer: Handle<Expression>,
    ) -> Outcome<Option<(usize, Value)>> {
        let base = match frame.function.expressions[pointer] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => base,
            _ => return Ok(None),
        };
        let size = match *frame.inner(&self.kernel.module, base) {
            TypeInner::Pointer { base, .. } => match *self.kernel.inner(base) {
                TypeInner::Vector { size, .. } => size,
                _ => return Ok(None),
            },
            TypeInner::ValuePointer {
                size: Some(size), ..
            } => size,
            _ => return Ok(None),
        };
        Ok(Some((size as usize, self.value(frame, base)?)))
    }

    fn read(&mut self, memory: usize, place: usize, lane: u32) -> Outcome<u32> {
        let epoch = self.epoch(memory);
        let group = self.group;
        let Memory {
            name,
            space,
            words,
            cells,
        } = &mut self.memories[memory];
        if let Some(cell) = cells.get_mut(place) {
            if cell.written == epoch && cell.writer != lane {
                let writer = cell.writer;
                return Err(format!(
                    "invocation {lane} reads word {place} of {name}, which invocation {writer} has \
                     written since the last barrier"
                ));
            }
            if *space != AddressSpace::WorkGroup {
                if ![0, group].contains(&cell.writing_group) {
                    return Err(format!(
                        "workgroup {group} reads word {place} of {name}, which workgroup {} has \
                         written",
                        cell.writing_group
                    ));
                }
                cell.reading_group = if [0, group].contains(&cell.reading_group) {
                    group
                } else {
                    MANY
                };
            }
            cell.reader = if cell.read != epoch || cell.reader == lane {
                lane
            } else {
                MANY
            };
            cell.read = epoch;
        }
        Ok(words[place])
    }

    fn write(&mut self, memory: usize, place: usize, lane: u32, value: u32) -> Outcome {
        let epoch = self.epoch(memory);
        let group = self.group;
        let Memory {
            name,
            space,
            words,
            cells,
        } = &mut self.memories[memory];
        if let Some(cell) = cells.get_mut(place) {
            if cell.written == epoch && cell.writer != lane {
                let writer = cell.writer;
                return Err(format!(
                    "invocations {lane} and {writer} write word {place} of {name}, without a barrier"
                ));
            }
            if cell.read == epoch && cell.reader != lane {
                return Err(format!(
                    "invocation {lane} writes word {place} of {name}, which another one has read since the \
                 last barrier"
                ));
            }
            if *space != AddressSpace::WorkGroup {
                for other in [cell.writing_group, cell.reading_group] {
                    if ![0, group].contains(&other) {
                        return Err(format!(
                            "workgroup {group} writes word {place} of {name}, which another one accesses"
                        ));
                    }
                }
                cell.writing_group = group;
            }
            (cell.written, cell.writer) = (epoch, lane);
        }
        words[place] = value;
        Ok(())
    }

    fn epoch(&self, memory: usize) -> u32 {
        match self.memories[memory].space {
            AddressSpace::WorkGroup => self.epochs.workgroup,
            _ => self.epochs.storage,
        }
    }

    /// The bits of a value of one word.
    fn bits(&self, frame: &Frame<'k>, expression: Handle<Expression>) -> Outcome<Vec<u32>> {
        match self.value(frame, expression)? {
            Value::Data { words: 1, bits } => Ok(bits),
            other => Err(format!("{other:?} is no scalar")),
        }
    }

    /// A value that has been computed, or that needs no computing.
    fn value(&self, frame: &Frame<'k>, expression: Handle<Expression>) -> Outcome<Value> {
        if let Some(value) = &frame.values[expression.index()] {
            return Ok(value.clone());
        }
        let everywhere = |words: Vec<u32>| Value::Data {
            words: words.len(),
            bits: words.repeat(self.lanes),
        };
        Ok(match frame.function.expressions[expression] {
            Expression::Literal(literal) => everywhere(vec![literal_bits(literal)?]),
            Expression::Constant(constant) => {
                everywhere(self.constant(self.kernel.module.constants[constant].init)?)
            }
            Expression::ZeroValue(ty) => everywhere(vec![0; self.kernel.words(ty)]),
            Expression::FunctionArgument(i) => frame.arguments[i as usize].clone(),
            Expression::GlobalVariable(handle) => Value::Pointer {
                base: Base::Global(self.memory_of[&handle]),
                at: vec![0; self.lanes],
            },
            Expression::LocalVariable(handle) => Value::Pointer {
                base: Base::Local(frame.locals + handle.index()),
                at: vec![0; self.lanes],
            },
            ref other => return Err(format!("{other:?} has no value")),
        })
    }

    /// A constant of the module.
    fn constant(&self, expression: Handle<Expression>) -> Outcome<Vec<u32>> {
        let module = &self.kernel.module;
        match &module.global_expressions[expression] {
            Expression::Literal(literal) => Ok(vec![literal_bits(*literal)?]),
            Expression::Constant(constant) => self.constant(module.constants[*constant].init),
            Expression::ZeroValue(ty) => Ok(vec![0; self.kernel.words(*ty)]),
            Expression::Splat { size, value } => Ok(self.constant(*value)?.repeat(*size as usize)),
            Expression::Compose { components, .. } => {
                let mut words = Vec::new();
                for component in components {
                    words.extend(self.constant(*component)?);
                }
                Ok(words)
            }
            other => Err(format!("no such constant is known: {other:?}")),
        }
    }

    fn data(
        &self,
        frame: &Frame<'k>,
        expression: Handle<Expression>,
    ) -> Outcome<(usize, Vec<u32>)> {
        match self.value(frame, expression)? {
            Value::Data { words, bits } => Ok((words, bits)),
            Value::Pointer { .. } => Err("a pointer is no value".to_owned()),
        }
    }

    /// A value of `words` words a lane, each lane's from the words of its operands.
    fn each_lane(&self, words: usize, mut f: impl FnMut(usize, &mut [u32])) -> Value {
        let mut bits = vec![0; words * self.lanes];
        for lane in 0..self.lanes {
            f(lane, &mut bits[lane * words..][..words]);
        }
        Value::Data { words, bits }
    }

    fn evaluate(
        &mut self,
        frame: &Frame<'k>,
        expression: Handle<Expression>,
        mask: &Mask,
    ) -> Outcome<Value> {
        let module = &self.kernel.module;
        let kind = |e: Handle<Expression>| frame.inner(module, e).scalar_kind();
        match &frame.function.expressions[expression] {
            Expression::Load { pointer } => {
                let words = self.kernel.words_of(frame.inner(module, expression));
                let pointer = self.value(frame, *pointer)?;
                self.load(&pointer, words, mask)
            }
            Expression::Access { base, index } => {
                let index = self.bits(frame, *index)?;
                self.access(frame, *base, |lane| index[lane] as usize)
            }
            Expression::AccessIndex { base, index } => {
                self.access(frame, *base, |_| *index as usize)
            }
            Expression::Compose { ty, components } => self.compose(frame, *ty, components),
            Expression::Splat { size, value } => {
                let bits = self.bits(frame, *value)?;
                Ok(self.each_lane(*size as usize, |lane, to| to.fill(bits[lane])))
            }
            Expression::Swizzle {
                size,
                vector,
                pattern,
            } => {
                let (words, bits) = self.data(frame, *vector)?;
                Ok(self.each_lane(*size as usize, |lane, to| {
                    for (to, &component) in to.iter_mut().zip(pattern) {
                        *to = bits[lane * words + component as usize];
                    }
                }))
            }
            Expression::Unary { op, expr } => {
                let (words, bits) = self.data(frame, *expr)?;
                let kind = kind(*expr);
                let mut result = Vec::with_capacity(bits.len());
                for bits in bits {
                    result.push(unary(*op, kind, bits)?);
                }
                Ok(Value::Data {
                    words,
                    bits: result,
                })
            }
            Expression::Binary { op, left, right } => {
                let sides = [*left, *right];
                if sides
                    .iter()
                    .any(|&e| matches!(frame.inner(module, e), TypeInner::Matrix { .. }))
                {
                    return Err("arithmetic of matrices is not known".to_owned());
                }
                let kind = kind(*left);
                let ((n, left), (m, right)) = (self.data(frame, *left)?, self.data(frame, *right)?);
                let words = n.max(m);
                let mut bits = Vec::with_capacity(words * self.lanes);
                for lane in 0..self.lanes {
                    for word in 0..words {
                        // A scalar goes with every component of a vector.
                        let (l, r) = (left[lane * n + word % n], right[lane * m + word % m]);
                        bits.push(if mask[lane] {
                            binary(*op, kind, l, r)?
                        } else {
                            0
                        });
                    }
                }
                Ok(Value::Data { words, bits })
            }
            Expression::Select {
                condition,
                accept,
                reject,
            } => {
                let (n, holds) = self.data(frame, *condition)?;
                let ((words, accept), (_, reject)) =
                    (self.data(frame, *accept)?, self.data(frame, *reject)?);
                Ok(self.each_lane(words, |lane, to| {
                    for (word, to) in to.iter_mut().enumerate() {
                        let from = if holds[lane * n + word % n] != 0 {
                            &accept
                        } else {
                            &reject
                        };
                        *to = from[lane * words + word];
                    }
                }))
            }
            Expression::Relational { fun, argument } => {
                let (words, bits) = self.data(frame, *argument)?;
                let of_lane = |lane: usize| &bits[lane * words..][..words];
                match fun {
                    RelationalFunction::All => Ok(self.each_lane(1, |lane, to| {
                        to[0] = u32::from(of_lane(lane).iter().all(|&bit| bit != 0));
                    })),
                    RelationalFunction::Any => Ok(self.each_lane(1, |lane, to| {
                        to[0] = u32::from(of_lane(lane).iter().any(|&bit| bit != 0));
                    })),
                    other => Err(format!("{other:?} is not known")),
                }
            }
            Expression::Math {
                fun: MathFunction::Transpose,
                arg,
                ..
            } => {
                let TypeInner::Matrix { columns, rows, .. } = *frame.inner(module, *arg) else {
                    return Err("only matrices are transposed".to_owned());
                };
                let (columns, rows) = (columns as usize, rows as usize);
                let (words, bits) = self.data(frame, *arg)?;
                Ok(self.each_lane(words, |lane, to| {
                    for c in 0..columns {
                        for r in 0..rows {
                            to[r * column(columns) + c] = bits[lane * words + c * column(rows) + r];
                        }
                    }
                }))
            }
            Expression::Math {
                fun,
                arg,
                arg1,
                arg2,
                arg3: None,
            } => {
                let kind = kind(*arg);
                let mut arguments = vec![self.data(frame, *arg)?];
                for argument in [arg1, arg2].into_iter().flatten() {
                    arguments.push(self.data(frame, *argument)?);
                }
                let words = arguments[0].0;
                let mut bits = Vec::with_capacity(words * self.lanes);
                for i in 0..words * self.lanes {
                    let values: Vec<u32> = arguments.iter().map(|(_, bits)| bits[i]).collect();
                    bits.push(math(*fun, kind, &values)?);
                }
                Ok(Value::Data { words, bits })
            }
            Expression::As {
                expr,
                kind: to,
                convert,
            } => {
                let (words, mut bits) = self.data(frame, *expr)?;
                if convert.is_some() {
                    for bits in &mut bits {
                        *bits = converted(*bits, kind(*expr), *to)?;
                    }
                }
                Ok(Value::Data { words, bits })
            }
            Expression::ArrayLength(pointer) => {
                let Value::Pointer {
                    base: Base::Global(memory),
                    at,
                } = self.value(frame, *pointer)?
                else {
                    return Err("only the lengths of buffers are known".to_owned());
                };
                let stride = self.stride_of_pointee(frame, *pointer)?;
                let length = self.memories[memory].words.len();
                Ok(self.each_lane(1, |lane, to| to[0] = ((length - at[lane]) / stride) as u32))
            }
            _ => self.value(frame, expression),
        }
    }

    fn stride_of_pointee(&self, frame: &Frame<'k>, pointer: Handle<Expression>) -> Outcome<usize> {
        let module = &self.kernel.module;
        match *frame.inner(module, pointer) {
            TypeInner::Pointer { base, .. } => match *self.kernel.inner(base) {
                TypeInner::Array { stride, .. } => Ok(stride as usize / 4),
                ref other => Err(format!("{other:?} is no array")),
            },
            ref other => Err(format!("{other:?} is no pointer")),
        }
    }

    /// A part of a value, or of what a pointer points to.
    fn access(
        &self,
        frame: &Frame<'k>,
        base: Handle<Expression>,
        index: impl Fn(usize) -> usize,
    ) -> Outcome<Value> {
        let module = &self.kernel.module;
        let inner = match *frame.inner(module, base) {
            TypeInner::Pointer { base, .. } => self.kernel.inner(base).clone(),
            TypeInner::ValuePointer {
                size: Some(size),
                scalar,
                ..
            } => TypeInner::Vector { size, scalar },
            ref other => other.clone(),
        };
        // Where part `i` begins, and how many words it has.
        let member = |i: usize| match &inner {
            TypeInner::Struct { members, .. } => {
                let member = &members[i];
                (member.offset as usize / 4, self.kernel.words(member.ty))
            }
            TypeInner::Vector { .. } => (i, 1),
            TypeInner::Matrix { rows, .. } => (i * column(*rows as usize), *rows as usize),
            TypeInner::Array { stride, base, .. } => {
                (i * *stride as usize / 4, self.kernel.words(*base))
            }
            other => panic!("{other:?} has no parts"),
        };
        let whole = self.kernel.words_of(&inner);
        match self.value(frame, base)? {
            Value::Data { words, bits } => {
                let (_, size) = member(0);
                Ok(self.each_lane(size, |lane, to| {
                    let (at, _) = member(index(lane));
                    if at + size <= words {
                        to.copy_from_slice(&bits[lane * words + at..][..size]);
                    }
                }))
            }
            Value::Pointer { base, at } => {
                // A buffer's last array is as long as the buffer.
                let whole = match base {
                    Base::Global(memory) if whole == 0 => self.memories[memory].words.len(),
                    _ => whole,
                };
                let at = at.iter().enumerate().map(|(lane, &at)| {
                    let (part, size) = member(index(lane));
                    if at == NOWHERE || part + size > whole {
                        NOWHERE
                    } else {
                        at + part
                    }
                });
                Ok(Value::Pointer {
                    base,
                    at: at.collect(),
                })
            }
        }
    }

    fn compose(
        &self,
        frame: &Frame<'k>,
        ty: Handle<Type>,
        components: &[Handle<Expression>],
    ) -> Outcome<Value> {
        let mut places = Vec::new();
        let mut next = 0;
        let mut parts = Vec::new();
        for (i, &component) in components.iter().enumerate() {
            let (words, bits) = self.data(frame, component)?;
            let at = match self.kernel.inner(ty) {
                TypeInner::Struct { members, .. } => members[i].offset as usize / 4,
                TypeInner::Array { stride, .. } => i * *stride as usize / 4,
                TypeInner::Matrix { rows, .. } => i * column(*rows as usize),
                // The components of a vector may be vectors.
                _ => next,
            };
            next = at + words;
            places.push(at);
            parts.push((words, bits));
        }
        let words = self.kernel.words(ty);
        Ok(self.each_lane(words, |lane, to| {
            for (&at, (words, bits)) in places.iter().zip(&parts) {
                to[at..at + words].copy_from_slice(&bits[lane * words..][..*words]);
            }
        }))
    }
}

/// `others`, but with `value` where `mask` says so.
fn merged(others: &Value, value: &Value, mask: &Mask) -> Outcome<Value> {
    match (others, value) {
        (Value::Data { words, bits: a }, Value::Data { bits: b, .. }) => {
            let choose = |i: usize| if mask[i / words] { b[i] } else { a[i] };
            Ok(Value::Data {
                words: *words,
                bits: (0..a.len()).map(choose).collect(),
            })
        }
        _ => Err("functions that return pointers are not known".to_owned()),
    }
}

fn literal_bits(literal: Literal) -> Outcome<u32> {
    match literal {
        Literal::F32(value) => Ok(value.to_bits()),
        Literal::U32(value) => Ok(value),
        Literal::I32(value) => Ok(value as u32),
        Literal::Bool(value) => Ok(u32::from(value)),
        other => Err(format!("no such literal is known: {other:?}")),
    }
}

fn unary(op: UnaryOperator, kind: Option<ScalarKind>, bits: u32) -> Outcome<u32> {
    match (op, kind) {
        (UnaryOperator::Negate, Some(ScalarKind::Float)) => Ok((-f32::from_bits(bits)).to_bits()),
        (UnaryOperator::Negate, Some(ScalarKind::Sint)) => Ok((bits as i32).wrapping_neg() as u32),
        (UnaryOperator::LogicalNot, _) => Ok(u32::from(bits == 0)),
        (UnaryOperator::BitwiseNot, _) => Ok(!bits),
        other => Err(format!("{other:?} is not known")),
    }
}

fn binary(op: BinaryOperator, kind: Option<ScalarKind>, left: u32, right: u32) -> Outcome<u32> {
    use BinaryOperator as O;
    let unknown = || Err(format!("{op:?} of {kind:?} is not known"));
    match kind {
        Some(ScalarKind::Float) => {
            let (l, r) = (f32::from_bits(left), f32::from_bits(right));
            let value = match op {
                O::Add => l + r,
                O::Subtract => l - r,
                O::Multiply => l * r,
                O::Divide => l / r,
                O::Modulo => l % r,
                O::Equal => return Ok(u32::from(l == r)),
                O::NotEqual => return Ok(u32::from(l != r)),
                O::Less => return Ok(u32::from(l < r)),
                O::LessEqual => return Ok(u32::from(l <= r)),
                O::Greater => return Ok(u32::from(l > r)),
                O::GreaterEqual => return Ok(u32::from(l >= r)),
                _ => return unknown(),
            };
            Ok(value.to_bits())
        }
        Some(ScalarKind::Uint) => Ok(match op {
            O::Add => left.wrapping_add(right),
            O::Subtract => left.wrapping_sub(right),
            O::Multiply => left.wrapping_mul(right),
            O::Divide => left.checked_div(right).ok_or("a division by zero")?,
            O::Modulo => left.checked_rem(right).ok_or("a division by zero")?,
            O::Equal => u32::from(left == right),
            O::NotEqual => u32::from(left != right),
            O::Less => u32::from(left < right),
            O::LessEqual => u32::from(left <= right),
            O::Greater => u32::from(left > right),
            O::GreaterEqual => u32::from(left >= right),
            O::And => left & right,
            O::InclusiveOr => left | right,
            O::ExclusiveOr => left ^ right,
            O::ShiftLeft => left.wrapping_shl(right),
            O::ShiftRight => left.wrapping_shr(right),
            _ => return unknown(),
        }),
        Some(ScalarKind::Bool) => Ok(match op {
            O::And | O::LogicalAnd => left & right,
            O::InclusiveOr | O::LogicalOr => left | right,
            O::Equal => u32::from(left == right),
            O::NotEqual => u32::from(left != right),
            _ => return unknown(),
        }),
        _ => unknown(),
    }
}

fn math(fun: MathFunction, kind: Option<ScalarKind>, values: &[u32]) -> Outcome<u32> {
    use MathFunction as M;
    if kind == Some(ScalarKind::Uint) {
        return match (fun, values) {
            (M::Min, &[a, b]) => Ok(a.min(b)),
            (M::Max, &[a, b]) => Ok(a.max(b)),
            _ => Err(format!("{fun:?} of u32 is not known")),
        };
    }
    let floats: Vec<f32> = values.iter().copied().map(f32::from_bits).collect();
    let value = match (fun, &floats[..]) {
        (M::Min, &[a, b]) => a.min(b),
        (M::Max, &[a, b]) => a.max(b),
        (M::Clamp, &[x, low, high]) => x.max(low).min(high),
        (M::Exp, &[x]) => x.exp(),
        (M::Log, &[x]) => x.ln(),
        (M::Sqrt, &[x]) => x.sqrt(),
        _ => return Err(format!("{fun:?} is not known")),
    };
    Ok(value.to_bits())
}

fn converted(bits: u32, from: Option<ScalarKind>, to: ScalarKind) -> Outcome<u32> {
    use ScalarKind as K;
    match (from, to) {
        (Some(K::Uint), K::Float) => Ok((bits as f32).to_bits()),
        (Some(K::Float), K::Uint) => Ok(f32::from_bits(bits) as u32),
        (Some(K::Bool), K::Float) => Ok((bits as f32).to_bits()),
        (Some(K::Bool | K::Uint | K::Sint), K::Uint | K::Sint) => Ok(bits),
        other => Err(format!("the conversion {other:?} is not known")),
    }
}
