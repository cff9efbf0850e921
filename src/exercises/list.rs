//! The exercises in their order.

use super::answers::Answers;
use crate::gradcheck::explain;
use crate::model::tensors::LectureTensor;

/// An exercise.
#[derive(Debug)]
pub struct Exercise {
    /// Its number, from 1.
    pub number: usize,
    /// Its name, as in `learn check NAME`: the function that is asked for.
    pub name: &'static str,
    /// Its file's name.
    pub file: &'static str,
    /// What the learner begins with.
    pub text: &'static str,
    /// The file of its answers.
    answers: &'static str,
    /// What is asked.
    pub(super) asked: Asked,
}

/// What an exercise asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// The gradient of a tensor, from all that stands before it in the backward pass.
    Gradient(LectureTensor),
    /// Softmax and cross-entropy in one formula: the loss of a row.
    LossOfRow,
    /// And its gradient.
    DlogitsFused,
    /// The variance of batch norm, from what goes into it.
    BnvarFused,
    /// Batch norm's forward pass in one formula.
    HpreactFused,
    /// And its backward pass.
    DhprebnFused,
    /// The gradient of the weights of a linear layer with one-hot inputs.
    OnehotWeight,
    /// That of its inputs.
    OnehotInput,
    /// `repeat_kv`.
    RepeatKv,
    /// The gradient through it.
    RepeatKvGradient,
    /// A kernel that adds up rows, an invocation for each.
    RowSum,
    /// A workgroup for each.
    RowSumByWorkgroup,
    /// A kernel that multiplies matrices.
    Matmul,
    /// A kernel that multiplies matrices in tiles, which it keeps in workgroup memory.
    MatmulInTiles,
    /// The gradient of the embedding, gathered.
    GatherDc,
    /// Many steps in one dispatch.
    ManySteps,
}

macro_rules! exercises {
    ($($number:literal $file:literal $name:literal $asked:expr;)*) => {
        /// All of them.
        pub static EXERCISES: &[Exercise] = &[$(
            Exercise {
                number: $number,
                name: $name,
                file: concat!($file, ".wgsl"),
                text: include_str!(concat!("../../exercises/", $file, ".wgsl")),
                answers: include_str!(concat!("../../exercises/answers/", $file, ".wgsl")),
                asked: $asked,
            },
        )*];
    };
}

#[rustfmt::skip]
exercises! {
    1 "01_dlogprobs" "dlogprobs" Asked::Gradient(LectureTensor::Logprobs);
    2 "02_dprobs" "dprobs" Asked::Gradient(LectureTensor::Probs);
    3 "03_dcounts_sum_inv" "dcounts_sum_inv" Asked::Gradient(LectureTensor::CountsSumInv);
    4 "04_dcounts_sum" "dcounts_sum" Asked::Gradient(LectureTensor::CountsSum);
    5 "05_dcounts" "dcounts" Asked::Gradient(LectureTensor::Counts);
    6 "06_dnorm_logits" "dnorm_logits" Asked::Gradient(LectureTensor::NormLogits);
    7 "07_dlogit_maxes" "dlogit_maxes" Asked::Gradient(LectureTensor::LogitMaxes);
    8 "08_dlogits" "dlogits" Asked::Gradient(LectureTensor::Logits);
    9 "09_dh" "dh" Asked::Gradient(LectureTensor::H);
    10 "10_dW2" "dW2" Asked::Gradient(LectureTensor::W2);
    11 "11_db2" "db2" Asked::Gradient(LectureTensor::B2);
    12 "12_dhpreact" "dhpreact" Asked::Gradient(LectureTensor::Hpreact);
    13 "13_dbngain" "dbngain" Asked::Gradient(LectureTensor::Bngain);
    14 "14_dbnbias" "dbnbias" Asked::Gradient(LectureTensor::Bnbias);
    15 "15_dbnraw" "dbnraw" Asked::Gradient(LectureTensor::Bnraw);
    16 "16_dbnvar_inv" "dbnvar_inv" Asked::Gradient(LectureTensor::BnvarInv);
    17 "17_dbnvar" "dbnvar" Asked::Gradient(LectureTensor::Bnvar);
    18 "18_dbndiff2" "dbndiff2" Asked::Gradient(LectureTensor::Bndiff2);
    19 "19_dbndiff" "dbndiff" Asked::Gradient(LectureTensor::Bndiff);
    20 "20_dbnmeani" "dbnmeani" Asked::Gradient(LectureTensor::Bnmeani);
    21 "21_dhprebn" "dhprebn" Asked::Gradient(LectureTensor::Hprebn);
    22 "22_dembcat" "dembcat" Asked::Gradient(LectureTensor::Embcat);
    23 "23_dW1" "dW1" Asked::Gradient(LectureTensor::W1);
    24 "24_db1" "db1" Asked::Gradient(LectureTensor::B1);
    25 "25_demb" "demb" Asked::Gradient(LectureTensor::Emb);
    26 "26_dC" "dC" Asked::Gradient(LectureTensor::C);
    27 "27_loss_row" "loss_row" Asked::LossOfRow;
    28 "28_dlogits_fused" "dlogits_fused" Asked::DlogitsFused;
    29 "29_bnvar_fused" "bnvar_fused" Asked::BnvarFused;
    30 "30_hpreact_fused" "hpreact_fused" Asked::HpreactFused;
    31 "31_dhprebn_fused" "dhprebn_fused" Asked::DhprebnFused;
    32 "32_dw" "dw" Asked::OnehotWeight;
    33 "33_dx" "dx" Asked::OnehotInput;
    34 "34_repeat_kv" "repeat_kv" Asked::RepeatKv;
    35 "35_dkv" "dkv" Asked::RepeatKvGradient;
    36 "36_row_sum" "row_sum" Asked::RowSum;
    37 "37_row_sum_workgroup" "row_sum_workgroup" Asked::RowSumByWorkgroup;
    38 "38_matmul" "matmul" Asked::Matmul;
    39 "39_matmul_tiles" "matmul_tiles" Asked::MatmulInTiles;
    40 "40_dC_gather" "dC_gather" Asked::GatherDc;
    41 "41_many_steps" "many_steps" Asked::ManySteps;
}

impl Exercise {
    /// Hints, solution, typical mistakes.
    pub fn answers(&self) -> Answers {
        Answers::parse(self.answers)
    }

    /// The hints in their order; the last of some is the derivation of `gradcheck --explain`.
    pub fn hints(&self) -> Vec<String> {
        let mut hints = self.answers().hints;
        let derivation = self.derivation().and_then(explain::find);
        hints.extend(derivation.map(|found| found.lines().join("\n")));
        hints
    }

    /// Whether it asks for one of the gradients that [`OwnGradients`](super::OwnGradients) trains with.
    pub fn is_gradient(&self) -> bool {
        matches!(self.asked, Asked::Gradient(_))
    }

    /// What it belongs to: `exercise 1 of the lecture`.
    pub fn part(&self) -> &'static str {
        let heading = self.text.lines().next().unwrap_or_default();
        heading
            .rsplit_once("  ")
            .map_or("", |(_, part)| part.trim())
    }

    /// What it is about: the forward line of its heading.
    pub fn subject(&self) -> &'static str {
        let mut lines = self.text.lines();
        let forward = lines.find_map(|line| line.strip_prefix("// forward:"));
        forward.unwrap_or_default().trim()
    }

    /// The name of the tensor whose gradient is derived by `gradcheck --explain`, or of the fused formula.
    fn derivation(&self) -> Option<&'static str> {
        match self.asked {
            Asked::Gradient(tensor) => Some(tensor.name()),
            Asked::DlogitsFused => Some(explain::SOFTMAX),
            Asked::DhprebnFused => Some(explain::BATCHNORM),
            _ => None,
        }
    }
}

/// An exercise by its name, its number or its file.
pub fn find(text: &str) -> Option<&'static Exercise> {
    let text = text.trim();
    let number = text.parse().ok();
    EXERCISES.iter().find(|exercise| {
        Some(exercise.number) == number
            || exercise.name == text
            || exercise.file == text
            || exercise.file.strip_suffix(".wgsl") == Some(text)
    })
}
