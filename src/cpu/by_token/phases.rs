//! The phases of a panel, each a function of its own.
//!
//! A step on one core and a step on several call the same ones, which are compiled once for each kind of
//! machine. (In a copy for each caller, the library took two minutes to compile, and not one.) A call
//! costs nothing beside the work of a panel.

use multiversion::multiversion;
use multiversion::target::match_target;

use super::lines::{LANES, Line, Turn};
use super::panel::{Panel, Step};
use crate::reference::linear::{FUSED_4X16, FUSED_8X32, PLAIN, Tile};
use crate::reference::real::Real;

/// One of them, with what it is told beside its panel and the step.
type Phase<R> = fn(&mut Panel<R>, &Step<'_, R>);
type PhaseOfChunk<R> = fn(&mut Panel<R>, &Step<'_, R>, usize);
type PhaseOfLogits<R> = fn(&mut Panel<R>, &Step<'_, R>, &[Line<R>], usize);

/// The methods of [`Panel`] of these names.
#[derive(Clone, Copy)]
pub struct Phases<R> {
    pub statistics: Phase<R>,
    pub activate: PhaseOfChunk<R>,
    pub through_second_layer: PhaseOfLogits<R>,
    pub after_chunks: Phase<R>,
    pub update: Phase<R>,
}

impl<R: Real + Turn> Phases<R> {
    /// With these tiles, and with gradients that stay to be read (`GRADS`), as compiled where this is
    /// called.
    pub fn of<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
        const GRADS: bool,
    >(
        _: Tile<FMA, ROWS, COLS, PARTS>,
    ) -> Self {
        macro_rules! phase {
            ($name:ident($($arg:ident),*)) => {
                |panel, step, $($arg),*| {
                    let tile: Tile<FMA, ROWS, COLS, PARTS> = Tile;
                    $name::<R, FMA, ROWS, COLS, PARTS, GRADS>(tile, panel, step, $($arg),*)
                }
            };
        }
        Self {
            statistics: phase!(statistics()),
            activate: phase!(activate(chunk)),
            through_second_layer: phase!(through_second_layer(dlogits, chunk)),
            after_chunks: phase!(after_chunks()),
            update: phase!(update()),
        }
    }
}

/// For this machine, without gradients.
pub const NATIVE: Phases<f32> = Phases {
    statistics: native::statistics,
    activate: native::activate,
    through_second_layer: native::through_second_layer,
    after_chunks: native::after_chunks,
    update: native::update,
};

/// Each phase for any panel, with tiles that are no wider than its units; and in `native` the same loops
/// compiled for what the machine has and chosen when they are called.
macro_rules! phases {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {
        $(
            #[inline(always)]
            fn $name<
                R: Real + Turn,
                const FMA: bool,
                const ROWS: usize,
                const COLS: usize,
                const PARTS: usize,
                const GRADS: bool,
            >(
                _: Tile<FMA, ROWS, COLS, PARTS>,
                panel: &mut Panel<R>,
                step: &Step<'_, R>,
                $($arg: $type),*
            ) {
                if panel.units > LANES {
                    panel.$name::<FMA, ROWS, COLS, PARTS, 2, GRADS>(step, $($arg),*);
                } else {
                    panel.$name::<FMA, ROWS, COLS, 1, 1, GRADS>(step, $($arg),*);
                }
            }
        )*

        mod native {
            use super::*;

            type R = f32;

            $(
                #[multiversion(targets(
                    "x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma",
                    "x86_64+avx2+fma",
                    "aarch64+neon"
                ))]
                pub fn $name(panel: &mut Panel<R>, step: &Step<'_, R>, $($arg: $type),*) {
                    match_target! {
                        "x86_64+avx512f" => { super::$name::<R, _, _, _, _, false>(FUSED_8X32, panel, step, $($arg),*) },
                        "x86_64+avx2+fma" => { super::$name::<R, _, _, _, _, false>(FUSED_4X16, panel, step, $($arg),*) },
                        "aarch64+neon" => { super::$name::<R, _, _, _, _, false>(FUSED_4X16, panel, step, $($arg),*) },
                        _ => { super::$name::<R, _, _, _, _, false>(PLAIN, panel, step, $($arg),*) },
                    }
                }
            )*
        }
    };
}

phases! {
    statistics();
    activate(chunk: usize);
    through_second_layer(dlogits: &[Line<R>], chunk: usize);
    after_chunks();
    update();
}
