//! How types lie in memory, in words of 32 bits. Values have the same layout.

use naga::Handle;
use naga::ir::{ArraySize, Expression, Module, Override, ScalarKind, Type, TypeInner};

/// The layout of a type.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Words of a value; those before a runtime-sized array, of a type that ends with one.
    pub words: u64,
    pub parts: Parts,
    /// Whether a `bool` is in it. It has no size for WGSL; here it has a word.
    holds_bool: bool,
}

/// The parts of a type, as an index reaches them.
#[derive(Clone, Debug)]
pub(super) enum Parts {
    None,
    /// As many as this, or as there is room for; each lies this many words behind the one before.
    Row {
        count: Option<u32>,
        stride: u64,
    },
    /// Where each begins.
    Members(Vec<u64>),
}

/// Words from one column of a matrix to the next.
pub(super) fn column(rows: usize) -> usize {
    if rows == 3 { 4 } else { rows }
}

/// The layouts of all types of a module, or why a type has none.
pub(super) struct Layouts(Vec<Result<Layout, String>>);

impl Layouts {
    /// `length` knows the lengths that are constants of the pipeline.
    pub fn new(module: &Module, length: impl Fn(Handle<Override>) -> Result<u32, String>) -> Self {
        let mut layouts = Self(Vec::new());
        for (_, ty) in module.types.iter() {
            let layout = layouts.inner(&ty.inner, &length);
            layouts.0.push(layout);
        }
        layouts
    }

    pub fn of(&self, ty: Handle<Type>) -> Result<&Layout, String> {
        match self.0.get(ty.index()) {
            Some(layout) => layout.as_ref().map_err(Clone::clone),
            None => Err("a type has no layout".to_owned()),
        }
    }

    /// The layout of a value's type, which need not have a name.
    pub fn of_inner(&self, inner: &TypeInner) -> Result<Layout, String> {
        self.inner(inner, &unknown_length)
    }

    fn inner(
        &self,
        inner: &TypeInner,
        length: &impl Fn(Handle<Override>) -> Result<u32, String>,
    ) -> Result<Layout, String> {
        let simple = |words, parts| Layout {
            words,
            parts,
            holds_bool: false,
        };
        Ok(match inner {
            TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) => Layout {
                words: word(*scalar)?,
                parts: Parts::None,
                holds_bool: scalar.kind == ScalarKind::Bool,
            },
            TypeInner::Vector { size, scalar } => Layout {
                words: *size as u64 * word(*scalar)?,
                parts: Parts::Row {
                    count: Some(*size as u32),
                    stride: 1,
                },
                holds_bool: scalar.kind == ScalarKind::Bool,
            },
            TypeInner::Matrix {
                columns,
                rows,
                scalar,
            } => {
                let stride = column(*rows as usize) as u64 * word(*scalar)?;
                let count = Some(*columns as u32);
                simple(*columns as u64 * stride, Parts::Row { count, stride })
            }
            // A place.
            TypeInner::Pointer { .. } | TypeInner::ValuePointer { .. } => simple(1, Parts::None),
            TypeInner::Array { base, size, stride } => {
                let element = self.of(*base)?;
                let stride = match element.holds_bool {
                    true => element.words,
                    false => u64::from(*stride) / 4,
                };
                let count = match *size {
                    ArraySize::Constant(count) => Some(count.get()),
                    ArraySize::Pending(constant) => {
                        let count = length(constant)?;
                        if count == 0 {
                            return Err("an array has no elements".to_owned());
                        }
                        Some(count)
                    }
                    ArraySize::Dynamic => None,
                };
                Layout {
                    words: stride.saturating_mul(u64::from(count.unwrap_or(0))),
                    parts: Parts::Row { count, stride },
                    holds_bool: element.holds_bool,
                }
            }
            TypeInner::Struct { members, span } => {
                let mut holds_bool = false;
                for member in members {
                    holds_bool |= self.of(member.ty)?.holds_bool;
                }
                let (mut begins, mut end) = (Vec::new(), 0_u64);
                let mut open = false;
                for member in members {
                    let at = match holds_bool {
                        true => end,
                        false => u64::from(member.offset) / 4,
                    };
                    begins.push(at);
                    let layout = self.of(member.ty)?;
                    end = at.saturating_add(layout.words);
                    open = matches!(layout.parts, Parts::Row { count: None, .. });
                }
                Layout {
                    words: match holds_bool || open {
                        true => end,
                        false => end.max(u64::from(*span) / 4),
                    },
                    parts: Parts::Members(begins),
                    holds_bool,
                }
            }
            TypeInner::Image { .. } | TypeInner::Sampler { .. } => {
                return Err("textures and samplers are not known".to_owned());
            }
            _ => return Err("this type is not known".to_owned()),
        })
    }
}

/// Before the constants of a pipeline have values.
pub(super) fn unknown_length(_: Handle<Override>) -> Result<u32, String> {
    Err("the length of an array is not known".to_owned())
}

fn word(scalar: naga::ir::Scalar) -> Result<u64, String> {
    match (scalar.kind, scalar.width) {
        (ScalarKind::Bool, _) => Ok(1),
        (ScalarKind::Float | ScalarKind::Sint | ScalarKind::Uint, 4) => Ok(1),
        (kind, width) => Err(format!(
            "numbers of {} bits are not known ({kind:?})",
            8 * u32::from(width)
        )),
    }
}

/// What a pointer points to.
pub(super) fn pointee<'m>(module: &'m Module, inner: &'m TypeInner) -> Option<TypeInner> {
    match *inner {
        TypeInner::Pointer { base, .. } => Some(module.types[base].inner.clone()),
        TypeInner::ValuePointer { size, scalar, .. } => Some(match size {
            Some(size) => TypeInner::Vector { size, scalar },
            None => TypeInner::Scalar(scalar),
        }),
        _ => None,
    }
}

/// A word of a literal.
pub(super) fn literal(expression: &Expression) -> Option<u32> {
    use naga::ir::Literal;
    match *expression {
        Expression::Literal(Literal::F32(value)) => Some(value.to_bits()),
        Expression::Literal(Literal::U32(value)) => Some(value),
        Expression::Literal(Literal::I32(value)) => Some(value as u32),
        Expression::Literal(Literal::Bool(value)) => Some(u32::from(value)),
        _ => None,
    }
}
