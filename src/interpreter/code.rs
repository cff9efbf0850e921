//! A function made ready: each of its expressions as an operation on registers.

use naga::ir::{Expression, Function, Module, ScalarKind, TypeInner};
use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{Arena, Handle, Span};

use super::arithmetic::{Binary, Side, Unary, binary, converted, product, unary};
use super::builtins::{Math, math};
use super::layout::{Layout, Layouts, Parts, literal, pointee};

/// Words at most that the registers of all functions, their variables and private ones have together, in
/// all invocations of a workgroup.
pub(super) const MEMORY: u64 = 1 << 24;

const NO_CONSTANT: &str = "this is no constant";

/// Where the value of an expression lies: words of the lanes, lane after lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Words of a lane before it.
    pub at: usize,
    /// Words of a lane.
    pub words: usize,
    /// Of a pointer to an atomic variable.
    pub atomic: Option<ScalarKind>,
}

/// What computes an expression. Operands are numbers of expressions that come before it.
#[derive(Clone)]
pub(super) enum Op {
    /// The same in all lanes, and there from the beginning.
    Constant(Vec<u32>),
    /// A call or another statement puts it there.
    Given,
    Argument(usize),
    /// The beginning of a variable.
    Variable(usize),
    /// A part of what a pointer points to.
    Part(Part),
    Load(usize),
    /// Elements of an array at the end of a buffer.
    Length {
        pointer: usize,
        stride: u32,
    },
    /// A part of a value.
    Pick {
        base: usize,
        index: usize,
        count: u32,
        stride: usize,
    },
    Pure(Pure),
}

/// A pointer from another one.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub base: usize,
    pub index: Index,
    /// Parts there are; without it, as many as the buffer has room for.
    pub count: Option<u32>,
    pub stride: u32,
    /// Words of the vector that it is a component of.
    pub vector: Option<usize>,
}

#[derive(Clone, Copy)]
pub(super) enum Index {
    Fixed(u32),
    Of(usize),
}

/// Operations that only need registers, and do not fail.
#[derive(Clone)]
pub(super) enum Pure {
    Copy(usize),
    /// Words from here on.
    Take(usize, usize),
    /// Parts and where they go.
    Compose(Vec<(usize, usize)>),
    Swizzle(usize, [usize; 4]),
    Unary(Unary, usize),
    Binary(Binary, usize, usize),
    Product((usize, Side), (usize, Side)),
    /// Condition, where it holds, where not.
    Select(usize, usize, usize),
    All(usize),
    Any(usize),
    Math(Math, Vec<usize>),
    /// Of a matrix, or with two results, of which the second one begins at a word.
    Wide(Math, usize, (usize, usize)),
}

/// The registers before those of an expression.
pub(super) struct Operands<'a> {
    pub slots: &'a [Slot],
    pub before: &'a [u32],
    pub lanes: usize,
}

impl<'a> Operands<'a> {
    /// The words of an operand, and how many there are of a lane.
    pub fn get(&self, operand: usize) -> (&'a [u32], usize) {
        let slot = &self.slots[operand];
        let words = &self.before[slot.at * self.lanes..][..slot.words * self.lanes];
        (words, slot.words)
    }
}

impl Pure {
    /// Computes `words` words a lane.
    pub fn run(&self, operands: &Operands, to: &mut [u32], words: usize) {
        let lanes = operands.lanes;
        let get = |operand: &usize| operands.get(*operand);
        // A scalar goes with every component of a vector.
        let step = |n: usize, word: usize| if n == 1 { 0 } else { word };
        match self {
            Pure::Copy(from) => to.copy_from_slice(get(from).0),
            Pure::Take(from, at) => {
                let (from, n) = get(from);
                for (to, from) in to.chunks_exact_mut(words).zip(from.chunks_exact(n)) {
                    to.copy_from_slice(&from[*at..at + words]);
                }
            }
            Pure::Compose(parts) => {
                for (from, at) in parts {
                    let (from, n) = get(from);
                    for (to, from) in to.chunks_exact_mut(words).zip(from.chunks_exact(n)) {
                        to[*at..at + n].copy_from_slice(from);
                    }
                }
            }
            Pure::Swizzle(from, pattern) => {
                let (from, n) = get(from);
                for (to, from) in to.chunks_exact_mut(words).zip(from.chunks_exact(n)) {
                    for (to, &component) in to.iter_mut().zip(pattern) {
                        *to = from[component];
                    }
                }
            }
            Pure::Unary(f, a) => {
                for (to, &a) in to.iter_mut().zip(get(a).0) {
                    *to = f(a);
                }
            }
            Pure::Binary(f, a, b) => {
                let ((a, n), (b, m)) = (get(a), get(b));
                if n == m {
                    for (to, (&a, &b)) in to.iter_mut().zip(a.iter().zip(b)) {
                        *to = f(a, b);
                    }
                    return;
                }
                for lane in 0..lanes {
                    for word in 0..words {
                        let (a, b) = (a[lane * n + step(n, word)], b[lane * m + step(m, word)]);
                        to[lane * words + word] = f(a, b);
                    }
                }
            }
            Pure::Product((a, left), (b, right)) => {
                let ((a, n), (b, m)) = (get(a), get(b));
                for (lane, to) in to.chunks_exact_mut(words).enumerate() {
                    let (a, b) = (&a[lane * n..][..n], &b[lane * m..][..m]);
                    product((a, *left), (b, *right), to);
                }
            }
            Pure::Select(condition, accept, reject) => {
                let (holds, n) = get(condition);
                let (accept, reject) = (get(accept).0, get(reject).0);
                for (lane, to) in to.chunks_exact_mut(words).enumerate() {
                    for (word, to) in to.iter_mut().enumerate() {
                        let from = match holds[lane * n + step(n, word)] {
                            0 => reject,
                            _ => accept,
                        };
                        *to = from[lane * words + word];
                    }
                }
            }
            Pure::All(from) => {
                let (from, n) = get(from);
                for (to, from) in to.iter_mut().zip(from.chunks_exact(n)) {
                    *to = u32::from(from.iter().all(|&bit| bit != 0));
                }
            }
            Pure::Any(from) => {
                let (from, n) = get(from);
                for (to, from) in to.iter_mut().zip(from.chunks_exact(n)) {
                    *to = u32::from(from.iter().any(|&bit| bit != 0));
                }
            }
            Pure::Math(math, arguments) => {
                let mut given: [(&[u32], usize); 4] = [(&[], 1); 4];
                for (given, argument) in given.iter_mut().zip(arguments) {
                    *given = get(argument);
                }
                for (lane, to) in to.chunks_exact_mut(words).enumerate() {
                    let of_word = |i: usize, word: usize| {
                        let (bits, n) = given[i];
                        bits[lane * n + step(n, word)]
                    };
                    let whole = |i: usize| {
                        let (bits, n) = given[i];
                        bits.get(lane * n..lane * n + n).unwrap_or_default()
                    };
                    match math {
                        Math::Whole(f) => f(&[whole(0), whole(1), whole(2)], to),
                        _ => {
                            for (w, to) in to.iter_mut().enumerate() {
                                *to = match math {
                                    Math::One(f) => f(of_word(0, w)),
                                    Math::Two(f) => f(of_word(0, w), of_word(1, w)),
                                    Math::Three(f) => {
                                        f(of_word(0, w), of_word(1, w), of_word(2, w))
                                    }
                                    Math::Four(f) => f(
                                        of_word(0, w),
                                        of_word(1, w),
                                        of_word(2, w),
                                        of_word(3, w),
                                    ),
                                    Math::Whole(_) | Math::Matrix(_) | Math::Pair(_) => 0,
                                };
                            }
                        }
                    }
                }
            }
            Pure::Wide(math, from, detail) => {
                let (from, n) = get(from);
                for (to, from) in to.chunks_exact_mut(words).zip(from.chunks_exact(n)) {
                    match math {
                        Math::Matrix(f) => f(*detail, from, to),
                        Math::Pair(f) => {
                            for (i, &word) in from.iter().enumerate() {
                                (to[detail.0 + i], to[detail.1 + i]) = f(word);
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// Why an operand has no value.
    fn reason(&self, values: &[Result<Vec<u32>, String>]) -> String {
        let mut reason = NO_CONSTANT.to_owned();
        self.all_of(|operand| match values.get(operand) {
            Some(Err(message)) => {
                reason.clone_from(message);
                false
            }
            _ => true,
        });
        reason
    }

    /// Whether something holds for all operands.
    fn all_of(&self, mut holds: impl FnMut(usize) -> bool) -> bool {
        match self {
            Pure::Copy(a)
            | Pure::Take(a, _)
            | Pure::Swizzle(a, _)
            | Pure::Unary(_, a)
            | Pure::All(a)
            | Pure::Any(a)
            | Pure::Wide(_, a, _) => holds(*a),
            Pure::Compose(parts) => parts.iter().all(|&(a, _)| holds(a)),
            Pure::Binary(_, a, b) | Pure::Product((a, _), (b, _)) => holds(*a) && holds(*b),
            Pure::Select(a, b, c) => holds(*a) && holds(*b) && holds(*c),
            Pure::Math(_, arguments) => arguments.iter().all(|&a| holds(a)),
        }
    }
}

/// What is known of a module before its functions are made ready.
pub(super) struct Facts<'m> {
    pub module: &'m Module,
    pub info: &'m ModuleInfo,
    pub layouts: Layouts,
    /// The values of its global expressions, or why they have none.
    pub values: Vec<Result<Vec<u32>, String>>,
    /// The values of its overrides.
    pub overrides: Vec<Result<Vec<u32>, String>>,
    /// The numbers of the global variables that are used.
    pub variables: Vec<Option<usize>>,
    /// The kernel's invocations in a workgroup.
    pub lanes: usize,
}

/// The expressions of a function.
pub(super) struct Code {
    pub slots: Vec<Slot>,
    pub ops: Vec<Op>,
    /// Words of a lane that all of them have.
    pub words: usize,
}

/// Expressions and their types: of a function, or of the module.
struct Scope<'m, 'f> {
    facts: &'f Facts<'m>,
    expressions: &'m Arena<Expression>,
    info: Option<&'m FunctionInfo>,
    /// The number of the first local variable.
    locals: usize,
}

impl Code {
    /// The expressions of a function, whose first local variable has the number `locals`.
    pub fn of_function(
        facts: &Facts,
        function: &Function,
        info: &FunctionInfo,
        locals: usize,
    ) -> Result<Self, (Span, String)> {
        let scope = Scope {
            facts,
            expressions: &function.expressions,
            info: Some(info),
            locals,
        };
        let mut code = Self::empty();
        let mut registers = Vec::new();
        for (handle, _) in function.expressions.iter() {
            let span = function.expressions.get_span(handle);
            let added = code.add(&scope, handle, &mut registers);
            added.map_err(|message| (span, message))?;
        }
        Ok(code)
    }

    pub fn empty() -> Self {
        Self {
            slots: Vec::new(),
            ops: Vec::new(),
            words: 0,
        }
    }

    /// `registers` are those of one lane, for constants.
    fn add(
        &mut self,
        scope: &Scope,
        handle: Handle<Expression>,
        registers: &mut Vec<u32>,
    ) -> Result<(), String> {
        let inner = scope.ty(handle);
        let layout = scope.facts.layouts.of_type(scope, handle)?;
        let total = (self.words as u64).saturating_add(layout.words);
        if total.saturating_mul(scope.facts.lanes as u64) > MEMORY {
            return Err(too_much());
        }
        let mut op = scope.op(handle, &layout)?;
        let at = self.words;
        let words = layout.words as usize;
        self.words += words;
        let atomic = match pointee(scope.facts.module, inner) {
            Some(TypeInner::Atomic(scalar)) => Some(scalar.kind),
            _ => None,
        };
        self.slots.push(Slot { at, words, atomic });
        registers.resize(self.words, 0);
        let (before, to) = registers.split_at_mut(at);
        if let Op::Pure(pure) = &op
            && pure.all_of(|operand| matches!(self.ops[operand], Op::Constant(_)))
        {
            let operands = Operands {
                slots: &self.slots,
                before,
                lanes: 1,
            };
            pure.run(&operands, to, words);
            op = Op::Constant(to.to_vec());
        }
        if let Op::Constant(value) = &op {
            to.copy_from_slice(value);
        }
        self.ops.push(op);
        Ok(())
    }
}

/// The values of a module's global expressions, or why they have none, and those of its overrides.
/// `constants` are the numbers that a pipeline sets.
pub(super) fn evaluate_globals(facts: &mut Facts, constants: &[(&str, f64)]) {
    let module = facts.module;
    let mut code = Code::empty();
    let mut registers = Vec::new();
    let mut open = module.overrides.iter();
    for (handle, expression) in module.global_expressions.iter() {
        if let Expression::Override(wanted) = expression {
            // Those before it, too; what initialises them has been evaluated.
            while facts.overrides.len() <= wanted.index() {
                let Some((_, constant)) = open.next() else {
                    break;
                };
                let value = override_value(facts, constant, constants);
                facts.overrides.push(value);
            }
        }
        let scope = Scope {
            facts,
            expressions: &module.global_expressions,
            info: None,
            locals: 0,
        };
        let value = match code.add(&scope, handle, &mut registers) {
            Ok(()) => match code.ops.last() {
                Some(Op::Constant(value)) => Ok(value.clone()),
                Some(Op::Pure(pure)) => Err(pure.reason(&facts.values)),
                _ => Err(NO_CONSTANT.to_owned()),
            },
            Err(message) => {
                // Its number stays taken.
                let (at, words) = (code.words, 0);
                code.slots.push(Slot {
                    at,
                    words,
                    atomic: None,
                });
                code.ops.push(Op::Given);
                Err(message)
            }
        };
        facts.values.push(value);
    }
    for (_, constant) in open {
        let value = override_value(facts, constant, constants);
        facts.overrides.push(value);
    }
}

fn override_value(
    facts: &Facts,
    constant: &naga::ir::Override,
    constants: &[(&str, f64)],
) -> Result<Vec<u32>, String> {
    let name = constant.name.as_deref().unwrap_or_default();
    let set = constants.iter().find(|(known, _)| *known == name);
    let Some((_, value)) = set else {
        let init = constant
            .init
            .and_then(|init| facts.values.get(init.index()));
        return match init {
            Some(value) => value.clone(),
            None => Err(format!("the constant {name} has no value")),
        };
    };
    let kind = facts.module.types[constant.ty].inner.scalar_kind();
    let word = match kind {
        Some(ScalarKind::Bool) => Some(u32::from(*value != 0.0 && !value.is_nan())),
        Some(ScalarKind::Float) => Some(*value as f32)
            .filter(|value| value.is_finite())
            .map(f32::to_bits),
        Some(ScalarKind::Uint) => Some(value.trunc())
            .filter(|value| (0.0..=f64::from(u32::MAX)).contains(value))
            .map(|value| value as u32),
        Some(ScalarKind::Sint) => Some(value.trunc())
            .filter(|value| (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(value))
            .map(|value| value as i32 as u32),
        _ => None,
    };
    match word {
        Some(word) => Ok(vec![word]),
        None => Err(format!("the constant {name} cannot be {value}")),
    }
}

pub(super) fn too_much() -> String {
    format!(
        "this needs too much memory: all invocations of a workgroup have {} MiB",
        (MEMORY * 4) >> 20
    )
}

impl Layouts {
    fn of_type(&self, scope: &Scope, handle: Handle<Expression>) -> Result<Layout, String> {
        use naga::proc::TypeResolution;
        let resolution = match scope.info {
            Some(info) => &info[handle].ty,
            None => &scope.facts.info[handle],
        };
        match resolution {
            TypeResolution::Handle(ty) => self.of(*ty).cloned(),
            TypeResolution::Value(inner) => self.of_inner(inner),
        }
    }
}

impl<'m> Scope<'m, '_> {
    fn ty(&self, handle: Handle<Expression>) -> &'m TypeInner {
        let resolution = match self.info {
            Some(info) => &info[handle].ty,
            None => &self.facts.info[handle],
        };
        resolution.inner_with(&self.facts.module.types)
    }

    fn kind(&self, handle: Handle<Expression>) -> Result<ScalarKind, String> {
        let kind = self.ty(handle).scalar_kind();
        kind.ok_or_else(|| "this operand is not known".to_owned())
    }

    /// The operation of an expression whose value has a layout.
    fn op(&self, handle: Handle<Expression>, layout: &Layout) -> Result<Op, String> {
        let facts = self.facts;
        let known = |value: Option<&Result<Vec<u32>, String>>| match value {
            Some(value) => value.clone().map(Op::Constant),
            None => Err("this constant has no value".to_owned()),
        };
        let expression = &self.expressions[handle];
        Ok(match *expression {
            Expression::Literal(_) => match literal(expression) {
                Some(word) => Op::Constant(vec![word]),
                None => return Err("numbers of this type are not known".to_owned()),
            },
            Expression::Constant(constant) => {
                let init = facts.module.constants[constant].init;
                known(facts.values.get(init.index()))?
            }
            Expression::Override(constant) => known(facts.overrides.get(constant.index()))?,
            Expression::ZeroValue(_) => Op::Constant(vec![0; layout.words as usize]),
            Expression::FunctionArgument(i) => Op::Argument(i as usize),
            Expression::GlobalVariable(variable) => {
                let number = facts.variables.get(variable.index()).copied().flatten();
                Op::Variable(number.ok_or("this variable is not known")?)
            }
            Expression::LocalVariable(variable) => Op::Variable(self.locals + variable.index()),
            Expression::CallResult(_)
            | Expression::AtomicResult { .. }
            | Expression::WorkGroupUniformLoadResult { .. } => Op::Given,
            Expression::Load { pointer } => Op::Load(pointer.index()),
            Expression::Access { base, index } => {
                self.part(base, Index::Of(index.index()), layout)?
            }
            Expression::AccessIndex { base, index } => {
                self.part(base, Index::Fixed(index), layout)?
            }
            Expression::ArrayLength(pointer) => {
                let array = pointee(facts.module, self.ty(pointer));
                let Some(TypeInner::Array { stride, .. }) = array else {
                    return Err("only arrays have a length".to_owned());
                };
                Op::Length {
                    pointer: pointer.index(),
                    stride: (stride / 4).max(1),
                }
            }
            _ => Op::Pure(self.pure(expression, layout)?),
        })
    }

    fn part(&self, base: Handle<Expression>, index: Index, part: &Layout) -> Result<Op, String> {
        let module = self.facts.module;
        let inner = self.ty(base);
        let pointed = pointee(module, inner);
        let layout = match *inner {
            TypeInner::Pointer { base, .. } => self.facts.layouts.of(base)?.clone(),
            _ => match &pointed {
                Some(pointed) => self.facts.layouts.of_inner(pointed)?,
                None => self.facts.layouts.of_type(self, base)?,
            },
        };
        let base = base.index();
        let fixed = match (&layout.parts, index) {
            (Parts::Members(begins), Index::Fixed(i)) => begins.get(i as usize).copied(),
            (
                Parts::Row {
                    count: Some(count),
                    stride,
                },
                Index::Fixed(i),
            ) if i < *count => Some(u64::from(i) * stride),
            _ => None,
        };
        let row = match layout.parts {
            Parts::Row { count, stride } => Some((count, stride)),
            _ => None,
        };
        if pointed.is_none() {
            if let Some(at) = fixed.filter(|at| at + part.words <= layout.words) {
                return Ok(Op::Pure(Pure::Take(base, at as usize)));
            }
            return match (row, index) {
                (Some((Some(count), stride)), Index::Of(index)) => Ok(Op::Pick {
                    base,
                    index,
                    count,
                    stride: stride as usize,
                }),
                _ => Err("this part of a value is not known".to_owned()),
            };
        }
        let vector = match pointed {
            Some(TypeInner::Vector { size, .. }) => Some(size as usize),
            _ => None,
        };
        let narrow = |words: u64| u32::try_from(words).map_err(|_| too_much());
        let part = match (fixed, row) {
            (Some(at), _) => Part {
                base,
                index: Index::Fixed(1),
                count: Some(2),
                stride: narrow(at)?,
                vector,
            },
            (None, Some((count, stride))) => Part {
                base,
                index,
                count,
                stride: narrow(stride)?,
                vector,
            },
            _ => return Err("this part of a variable is not known".to_owned()),
        };
        Ok(Op::Part(part))
    }

    fn pure(&self, expression: &Expression, layout: &Layout) -> Result<Pure, String> {
        let unknown = |what: &dyn std::fmt::Debug, kind: ScalarKind| {
            Err(format!("{what:?} of {} is not known", name(kind)))
        };
        Ok(match *expression {
            Expression::Compose { ref components, .. } => {
                let (mut parts, mut next) = (Vec::new(), 0);
                for (i, &component) in components.iter().enumerate() {
                    let at = match (&layout.parts, self.ty(component)) {
                        (Parts::Members(begins), _) => begins.get(i).copied().unwrap_or(next),
                        // The components of a vector may be vectors.
                        (Parts::Row { stride: 1, .. }, _) => next,
                        (Parts::Row { stride, .. }, _) => i as u64 * stride,
                        (Parts::None, _) => return Err("this value is not known".to_owned()),
                    };
                    let words = self.facts.layouts.of_type(self, component)?.words;
                    next = at + words;
                    if next > layout.words {
                        return Err("this value is not known".to_owned());
                    }
                    parts.push((component.index(), at as usize));
                }
                Pure::Compose(parts)
            }
            Expression::Splat { value, .. } => Pure::Swizzle(value.index(), [0; 4]),
            Expression::Swizzle {
                vector, pattern, ..
            } => Pure::Swizzle(vector.index(), pattern.map(|component| component as usize)),
            Expression::Unary { op, expr } => {
                let kind = self.kind(expr)?;
                match unary(op, kind) {
                    Some(f) => Pure::Unary(f, expr.index()),
                    None => return unknown(&op, kind),
                }
            }
            Expression::Binary { op, left, right } => {
                use naga::ir::BinaryOperator;
                let kind = self.kind(left)?;
                let sides = (side(self.ty(left)), side(self.ty(right)));
                let matrix = matches!(sides, (Side::Matrix(..), _) | (_, Side::Matrix(..)));
                match (binary(op, kind), op) {
                    (Some(_), BinaryOperator::Multiply) if matrix => {
                        Pure::Product((left.index(), sides.0), (right.index(), sides.1))
                    }
                    (Some(f), _) => Pure::Binary(f, left.index(), right.index()),
                    (None, _) => return unknown(&op, kind),
                }
            }
            Expression::Select {
                condition,
                accept,
                reject,
            } => Pure::Select(condition.index(), accept.index(), reject.index()),
            Expression::Relational { fun, argument } => {
                use naga::ir::RelationalFunction as R;
                match fun {
                    R::All => Pure::All(argument.index()),
                    R::Any => Pure::Any(argument.index()),
                    R::IsNan | R::IsInf => return Err(format!("{fun:?} is not known")),
                }
            }
            Expression::Math {
                fun,
                arg,
                arg1,
                arg2,
                arg3,
            } => {
                let kind = self.kind(arg)?;
                let Some(found) = math(fun, kind) else {
                    return unknown(&fun, kind);
                };
                match (found, self.ty(arg)) {
                    (Math::Matrix(_), TypeInner::Matrix { columns, rows, .. }) => {
                        let size = (*columns as usize, *rows as usize);
                        Pure::Wide(found, arg.index(), size)
                    }
                    (Math::Pair(_), _) => {
                        let Parts::Members(begins) = &layout.parts else {
                            return unknown(&fun, kind);
                        };
                        let [first, second] = begins[..] else {
                            return unknown(&fun, kind);
                        };
                        Pure::Wide(found, arg.index(), (first as usize, second as usize))
                    }
                    (Math::Matrix(_), _) => return unknown(&fun, kind),
                    _ => {
                        let arguments = [Some(arg), arg1, arg2, arg3].into_iter().flatten();
                        let arguments: Vec<usize> = arguments.map(|a| a.index()).collect();
                        let needed = match found {
                            Math::Two(_) => 2,
                            Math::Three(_) => 3,
                            Math::Four(_) => 4,
                            _ => 1,
                        };
                        if arguments.len() < needed {
                            return unknown(&fun, kind);
                        }
                        Pure::Math(found, arguments)
                    }
                }
            }
            Expression::As {
                expr,
                kind: to,
                convert,
            } => match convert {
                None => Pure::Copy(expr.index()),
                Some(_) => {
                    let kind = self.kind(expr)?;
                    match converted(kind, to) {
                        Some(f) => Pure::Unary(f, expr.index()),
                        None => return unknown(&"the conversion", kind),
                    }
                }
            },
            _ => return Err(format!("{} is not known", variant(expression))),
        })
    }
}

fn side(inner: &TypeInner) -> Side {
    match *inner {
        TypeInner::Vector { .. } => Side::Vector,
        TypeInner::Matrix { columns, rows, .. } => Side::Matrix(columns as usize, rows as usize),
        _ => Side::Scalar,
    }
}

/// A kind of scalars as WGSL spells it.
fn name(kind: ScalarKind) -> &'static str {
    match kind {
        ScalarKind::Float => "f32",
        ScalarKind::Sint => "i32",
        ScalarKind::Uint => "u32",
        ScalarKind::Bool => "bool",
        ScalarKind::AbstractInt | ScalarKind::AbstractFloat => "an abstract number",
    }
}

/// The name of something of naga's, without what is in it.
pub(super) fn variant(thing: &impl std::fmt::Debug) -> String {
    let shown = format!("{thing:?}");
    let end = shown.find(|c: char| !c.is_alphanumeric());
    shown[..end.unwrap_or(shown.len())].to_owned()
}
