//! From a text to a kernel that is ready to run.

use std::collections::HashMap;

use naga::front::wgsl;
use naga::ir::{
    AddressSpace, Barrier, Binding, Block, Expression, Function, Module, ShaderStage, Statement,
    StorageAccess, TypeInner,
};
use naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use naga::{Handle, Span};

use super::arithmetic::atomic;
use super::bounds::exceeded;
use super::code::{Code, Facts, MEMORY, evaluate_globals, too_much, variant};
use super::error::{Fault, Finding, Refused, What};
use super::layout::{Layouts, Parts, pointee, unknown_length};
use super::machine::{Init, Input, Local, Machine, Program, Routine, Rules, knows};
use super::mask::LANES;
use super::memory::{Memory, Space};
use crate::text::without_drawing;

/// Words of all variables of a workgroup at most.
const WORKGROUP: u64 = 1 << 18;

/// Blocks within blocks at most, those of called functions included.
const NESTING: usize = 256;

/// What each binding holds, by its number: words of 32 bits, as they lie in a buffer. The number of the
/// bind group does not matter.
pub type Buffers = HashMap<u32, Vec<u32>>;

/// One entry point of a text, with its constants set.
pub struct Kernel {
    text: String,
    program: Program,
    variables: Vec<Variable>,
}

/// A variable: of the module or of a function.
struct Variable {
    name: String,
    space: Space,
    /// Words; of an invocation, where every one has its own. Without what is sized by its buffer.
    words: usize,
    binding: Option<u32>,
    /// Whether the kernel accesses it.
    used: bool,
    declared: Span,
}

type Refusal<T = ()> = Result<T, (Span, String)>;

impl Kernel {
    /// Reads and checks a module for one of its entry points. `constants` are values for its overrides by
    /// their names; it need not have all of them.
    ///
    /// # Errors
    ///
    /// [`Refused`]: the text does not parse or validate, it has no such entry point, it uses what the
    /// interpreter does not know, or it needs too much: of memory, of nesting, of invocations in a workgroup.
    pub fn new(text: &str, entry: &str, constants: &[(&str, f64)]) -> Result<Self, Refused> {
        let refused = |(span, message): (Span, String)| Refused::at(span, text, message);
        if let Some(exceeded) = exceeded(text) {
            return Err(refused(exceeded));
        }
        let module = wgsl::parse_str(text).map_err(|error| {
            let span = error
                .labels()
                .next()
                .map_or(Span::UNDEFINED, |(span, _)| span);
            refused((span, without_drawing(&error.emit_to_string(text))))
        })?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
        let info = validator.validate(&module).map_err(|error| {
            // The narrowest of them: the others are what it stands in.
            let spans = error.spans().map(|(span, _)| *span);
            let length = |span: &Span| span.to_range().map_or(usize::MAX, |range| range.len());
            let span = spans.min_by_key(length).unwrap_or(Span::UNDEFINED);
            refused((span, without_drawing(&error.emit_to_string(text))))
        })?;
        let (program, variables) = ready(module, &info, entry, constants).map_err(refused)?;
        Ok(Self {
            text: text.to_owned(),
            program,
            variables,
        })
    }

    /// One launch of this many workgroups. `buffers` are as it leaves them, also where it ends early.
    ///
    /// # Errors
    ///
    /// [`Finding`]: the first mistake that the launch makes, or that it takes too long.
    pub fn launch(
        &self,
        buffers: &mut Buffers,
        groups: [u32; 3],
        rules: &Rules,
    ) -> Result<(), Finding> {
        let program = &self.program;
        for variable in &self.variables {
            self.check(variable, buffers)?;
        }
        let memory = |variable: &Variable| {
            let binding = variable.binding.filter(|_| variable.used);
            let buffer = binding.and_then(|number| buffers.remove(&number));
            let mut words = buffer.unwrap_or_default();
            let size = match variable.space {
                Space::Private => {
                    words = vec![0; variable.words * program.lanes];
                    variable.words
                }
                _ => {
                    let length = words.len().max(variable.words);
                    words.resize(length, 0);
                    length
                }
            };
            Memory::new(&variable.name, variable.space, size, words)
        };
        let memories = self.variables.iter().map(memory).collect();
        let mut machine = Machine::new(program, memories, rules);
        let mut outcome = Ok(());
        'groups: for z in 0..groups[2] {
            for y in 0..groups[1] {
                for x in 0..groups[0] {
                    outcome = machine.run_group([x, y, z], groups);
                    if outcome.is_err() {
                        break 'groups;
                    }
                }
            }
        }
        let at = machine.at;
        for (variable, memory) in self.variables.iter().zip(machine.memories) {
            if let Some(number) = variable.binding.filter(|_| variable.used) {
                buffers.insert(number, memory.words);
            }
        }
        outcome.map_err(|fault| Finding::at(at, &self.text, *fault))
    }

    /// Whether a variable has the buffer that it needs.
    fn check(&self, variable: &Variable, buffers: &Buffers) -> Result<(), Finding> {
        let (Some(number), true) = (variable.binding, variable.used) else {
            return Ok(());
        };
        let name = &variable.name;
        let message = match buffers.get(&number) {
            None => format!("binding {number}, {name}, has no buffer"),
            Some(words) if words.len() < variable.words => format!(
                "the buffer of binding {number}, {name}, has {} words and needs {}",
                words.len(),
                variable.words
            ),
            Some(words) if u32::try_from(words.len()).is_err() => {
                format!("the buffer of binding {number}, {name}, is too long")
            }
            Some(_) => return Ok(()),
        };
        let fault = Fault::new(What::Buffer, message);
        Err(Finding::at(variable.declared, &self.text, *fault))
    }
}

/// Makes a valid module ready.
fn ready(
    module: Module,
    info: &ModuleInfo,
    entry: &str,
    constants: &[(&str, f64)],
) -> Refusal<(Program, Vec<Variable>)> {
    let mut entries = module.entry_points.iter();
    let Some(index) = entries.position(|e| e.stage == ShaderStage::Compute && e.name == entry)
    else {
        let message = format!("there is no entry point `{entry}` with @compute");
        return Err((Span::UNDEFINED, message));
    };
    let mut facts = Facts {
        module: &module,
        info,
        layouts: Layouts::new(&module, unknown_length),
        values: Vec::new(),
        overrides: Vec::new(),
        variables: vec![None; module.global_variables.len()],
        lanes: 1,
    };
    evaluate_globals(&mut facts, constants);
    facts.layouts = Layouts::new(&module, |constant| {
        match facts.overrides.get(constant.index()) {
            Some(Ok(value)) if value.len() == 1 => Ok(value[0]),
            Some(Err(message)) => Err(message.clone()),
            _ => unknown_length(constant),
        }
    });
    let size = workgroup(&facts, index)?;
    facts.lanes = size.iter().map(|&n| n as usize).product();
    let functions = reachable(&module, index)?;
    let mut bodies: Vec<(Option<Handle<Function>>, &Function, &FunctionInfo)> = functions
        .iter()
        .map(|&handle| (Some(handle), &module.functions[handle], &info[handle]))
        .collect();
    let point = &module.entry_points[index];
    bodies.push((None, &point.function, info.get_entry_point(index)));

    let (mut variables, inits) = globals(&mut facts, &bodies, info.get_entry_point(index))?;
    let mut routine_of = vec![None; module.functions.len()];
    let mut routines = Vec::new();
    // Of all invocations.
    let mut total: u64 = variables
        .iter()
        .filter(|variable| variable.space == Space::Private)
        .map(|variable| variable.words as u64 * facts.lanes as u64)
        .sum();
    for (handle, function, function_info) in bodies {
        let code = Code::of_function(&facts, function, function_info, variables.len())?;
        let mut locals = Vec::new();
        for (local, variable) in function.local_variables.iter() {
            let span = function.local_variables.get_span(local);
            let layout = facts.layouts.of(variable.ty).map_err(|e| (span, e))?;
            total = total.saturating_add(layout.words.saturating_mul(facts.lanes as u64));
            if total > MEMORY {
                return Err((span, too_much()));
            }
            locals.push(Local {
                memory: variables.len(),
                words: layout.words as usize,
                init: variable.init.map(|init| init.index()),
            });
            variables.push(Variable {
                name: variable.name.clone().unwrap_or_default(),
                space: Space::Private,
                words: layout.words as usize,
                binding: None,
                used: true,
                declared: span,
            });
        }
        total = total.saturating_add(code.words as u64 * facts.lanes as u64);
        if total > MEMORY {
            return Err((Span::UNDEFINED, too_much()));
        }
        statements(&facts, function_info, &function.body)?;
        let result = match &function.result {
            Some(result) => {
                let layout = facts.layouts.of(result.ty);
                layout.map_err(|e| (Span::UNDEFINED, e))?.words as usize
            }
            None => 0,
        };
        if let Some(handle) = handle {
            routine_of[handle.index()] = Some(routines.len());
        }
        routines.push(Routine {
            function: handle,
            code,
            locals,
            result,
        });
    }
    let inputs = inputs(&facts, &point.function)?;
    let lanes = facts.lanes;
    let program = Program {
        entry: index,
        size,
        lanes,
        routines,
        routine_of,
        inputs,
        inits,
        module,
    };
    Ok((program, variables))
}

/// The size of a workgroup.
fn workgroup(facts: &Facts, entry: usize) -> Refusal<[u32; 3]> {
    let point = &facts.module.entry_points[entry];
    let mut size = point.workgroup_size;
    let refused = |message: String| Err((Span::UNDEFINED, message));
    for (size, set) in size
        .iter_mut()
        .zip(point.workgroup_size_overrides.unwrap_or([None; 3]))
    {
        let Some(expression) = set else {
            continue;
        };
        *size = match facts.values.get(expression.index()) {
            Some(Ok(value)) if value.len() == 1 => value[0],
            Some(Err(message)) => return refused(message.clone()),
            _ => return refused("the size of a workgroup is not known".to_owned()),
        };
    }
    let lanes = size
        .iter()
        .map(|&n| u64::from(n))
        .try_fold(1_u64, u64::checked_mul);
    match lanes {
        Some(lanes) if (1..=LANES as u64).contains(&lanes) => Ok(size),
        _ => {
            let [x, y, z] = size;
            refused(format!(
                "a workgroup of {x} x {y} x {z} invocations is not known: it has from 1 to {LANES}"
            ))
        }
    }
}

/// The functions that an entry point calls, each behind those that it calls itself.
fn reachable(module: &Module, entry: usize) -> Refusal<Vec<Handle<Function>>> {
    let mut depths = vec![0; module.functions.len()];
    let mut called = vec![Vec::new(); module.functions.len()];
    for (handle, function) in module.functions.iter() {
        let depth = depth(&function.body, &depths, &mut called[handle.index()])?;
        depths[handle.index()] = depth;
    }
    let mut open = Vec::new();
    depth(
        &module.entry_points[entry].function.body,
        &depths,
        &mut open,
    )?;
    let mut wanted = vec![false; module.functions.len()];
    while let Some(handle) = open.pop() {
        if !std::mem::replace(&mut wanted[handle.index()], true) {
            open.extend_from_slice(&called[handle.index()]);
        }
    }
    let functions = module.functions.iter().map(|(handle, _)| handle);
    Ok(functions.filter(|handle| wanted[handle.index()]).collect())
}

/// How deep the blocks of a body are nested, those of the functions that it calls included.
fn depth(block: &Block, depths: &[usize], calls: &mut Vec<Handle<Function>>) -> Refusal<usize> {
    let mut deepest = 0;
    for (statement, span) in block.span_iter() {
        let inner = match statement {
            Statement::Block(inner) => depth(inner, depths, calls)?,
            Statement::If { accept, reject, .. } => {
                depth(accept, depths, calls)?.max(depth(reject, depths, calls)?)
            }
            Statement::Switch { cases, .. } => {
                let mut deepest = 0;
                for case in cases {
                    deepest = depth(&case.body, depths, calls)?.max(deepest);
                }
                deepest
            }
            Statement::Loop {
                body, continuing, ..
            } => depth(body, depths, calls)?.max(depth(continuing, depths, calls)?),
            Statement::Call { function, .. } => {
                calls.push(*function);
                depths.get(function.index()).copied().unwrap_or(0)
            }
            _ => continue,
        };
        deepest = deepest.max(inner);
        if deepest >= NESTING {
            let message =
                format!("blocks and calls within one another are known {NESTING} deep, not deeper");
            return Err((*span, message));
        }
    }
    Ok(deepest + 1)
}

/// The module's variables that some functions name, and what private ones begin with.
fn globals(
    facts: &mut Facts,
    bodies: &[(Option<Handle<Function>>, &Function, &FunctionInfo)],
    entry: &FunctionInfo,
) -> Refusal<(Vec<Variable>, Vec<Init>)> {
    let module = facts.module;
    let mut named = vec![false; module.global_variables.len()];
    for (_, function, _) in bodies {
        for (_, expression) in function.expressions.iter() {
            if let Expression::GlobalVariable(handle) = expression {
                named[handle.index()] = true;
            }
        }
    }
    let (mut variables, mut inits) = (Vec::<Variable>::new(), Vec::new());
    let (mut private, mut shared) = (0_u64, 0_u64);
    for (handle, variable) in module.global_variables.iter() {
        if !named[handle.index()] {
            continue;
        }
        let span = module.global_variables.get_span(handle);
        let refused = |message: &str| Err((span, message.to_owned()));
        let space = match variable.space {
            AddressSpace::Private => Space::Private,
            AddressSpace::WorkGroup => Space::Workgroup,
            AddressSpace::Uniform => Space::Constant,
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                Space::Storage
            }
            AddressSpace::Storage { .. } => Space::Constant,
            AddressSpace::Handle => return refused("textures and samplers are not known"),
            _ => return refused("a variable in this address space is not known"),
        };
        let layout = facts.layouts.of(variable.ty).map_err(|e| (span, e))?;
        let words = layout.words;
        match space {
            Space::Private => private = private.saturating_add(words),
            Space::Workgroup => shared = shared.saturating_add(words),
            Space::Constant | Space::Storage => {}
        }
        if private.saturating_mul(facts.lanes as u64) > MEMORY {
            return Err((span, too_much()));
        }
        if shared > WORKGROUP {
            let most = (WORKGROUP * 4) >> 10;
            return Err((
                span,
                format!("a workgroup has {most} KiB, and this needs more"),
            ));
        }
        // Of a buffer, which is as large as that; a program has to come with one.
        if words > MEMORY {
            return Err((span, too_much()));
        }
        let binding = variable.binding.map(|binding| binding.binding);
        let used = !entry[handle].is_empty();
        if used
            && variables
                .iter()
                .any(|v| v.used && binding.is_some() && v.binding == binding)
        {
            return refused("two variables with the same binding are not known");
        }
        let init = match variable.init {
            Some(init) => match facts.values.get(init.index()) {
                Some(Ok(value)) => Some(value.clone()),
                Some(Err(message)) => return refused(message),
                None => None,
            },
            None => None,
        };
        // One that is only named needs no buffer, and nobody is watched there.
        let space = match used || binding.is_none() {
            true => space,
            false => Space::Constant,
        };
        facts.variables[handle.index()] = Some(variables.len());
        inits.push(init);
        variables.push(Variable {
            name: variable.name.clone().unwrap_or_default(),
            space,
            words: words as usize,
            binding,
            used,
            declared: span,
        });
    }
    Ok((variables, inits))
}

/// The builtins that an entry point asks for.
fn inputs(facts: &Facts, function: &Function) -> Refusal<Vec<Input>> {
    let mut inputs = Vec::new();
    let mut add = |argument: usize, at: u64, binding: &Option<Binding>| match binding {
        Some(Binding::BuiltIn(builtin)) if knows(*builtin) => {
            inputs.push(Input {
                argument,
                at: at as usize,
                builtin: *builtin,
            });
            Ok(())
        }
        Some(Binding::BuiltIn(builtin)) => {
            let message = format!("the builtin {} is not known", variant(builtin));
            Err((Span::UNDEFINED, message))
        }
        _ => Err((Span::UNDEFINED, "an argument is no builtin".to_owned())),
    };
    for (i, argument) in function.arguments.iter().enumerate() {
        let layout = facts.layouts.of(argument.ty);
        let layout = layout.map_err(|e| (Span::UNDEFINED, e))?;
        match (&facts.module.types[argument.ty].inner, &layout.parts) {
            (TypeInner::Struct { members, .. }, Parts::Members(begins)) => {
                for (member, &at) in members.iter().zip(begins) {
                    add(i, at, &member.binding)?;
                }
            }
            _ => add(i, 0, &argument.binding)?,
        }
    }
    Ok(inputs)
}

/// Refuses statements that the machine does not know.
fn statements(facts: &Facts, info: &FunctionInfo, block: &Block) -> Refusal {
    for (statement, span) in block.span_iter() {
        let all = |inner: &Block| statements(facts, info, inner);
        match statement {
            Statement::Emit(_)
            | Statement::Break
            | Statement::Continue
            | Statement::Return { .. }
            | Statement::Store { .. }
            | Statement::WorkGroupUniformLoad { .. }
            | Statement::Call { .. } => {}
            Statement::Block(inner) => all(inner)?,
            Statement::If { accept, reject, .. } => {
                all(accept)?;
                all(reject)?;
            }
            Statement::Switch { cases, .. } => {
                for case in cases {
                    all(&case.body)?;
                }
            }
            Statement::Loop {
                body, continuing, ..
            } => {
                all(body)?;
                all(continuing)?;
            }
            Statement::ControlBarrier(barrier)
                if (Barrier::STORAGE | Barrier::WORK_GROUP).contains(*barrier) => {}
            Statement::ControlBarrier(_) => {
                return Err((*span, "this kind of barrier is not known".to_owned()));
            }
            Statement::Atomic { pointer, fun, .. } => {
                let inner = info[*pointer].ty.inner_with(&facts.module.types);
                let known = match pointee(facts.module, inner) {
                    Some(TypeInner::Atomic(scalar)) => atomic(*fun, scalar.kind).is_some(),
                    _ => false,
                };
                if !known {
                    return Err((*span, "this atomic operation is not known".to_owned()));
                }
            }
            other => return Err((*span, format!("{} is not known", variant(other)))),
        }
    }
    Ok(())
}
