// The targets of each step: the tokens that follow the context of a row, and in how many examples.
//
// The host has listed them (`list_targets` of src/gpu/packing.rs): where the list of each row begins and the
// last one ends, counted in words; then the lists. An entry has two words: a token, and its number of examples.

struct Targets {
    first: u32,
    end: u32,
}

// The range of a row's list. `targets` is a binding of the module that includes this file.
fn targets_of_row(step: u32, row: u32) -> Targets {
    let ends = step * (shape.rows + 1u + 2u * shape.examples);
    let lists = ends + shape.rows + 1u;
    return Targets(lists + targets[ends + row], lists + targets[ends + row + 1u]);
}

fn target_token(entry: u32) -> u32 {
    return targets[entry];
}

fn target_examples(entry: u32) -> f32 {
    return f32(targets[entry + 1u]);
}
