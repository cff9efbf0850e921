//! What to do about common slips of those who are new to WGSL.

/// A sentence for a compiler's message about a line, or for what stopped it there, if it is a common one.
pub fn help(message: &str, line: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let says = |text: &str| message.contains(text);
    let line = line.split("//").next().unwrap_or_default().trim();
    let begins = |words: &[&str]| {
        let first = line.split_whitespace().next();
        first.is_some_and(|first| words.contains(&first))
    };
    if says("the launch takes more than") {
        return Some("Does this loop ever end? Look at its condition, and at what changes in it.");
    }
    if begins(&["float", "double", "int", "uint", "f32", "i32", "u32"]) {
        return Some(
            "A declaration begins with `var`, or with `let` if the value stays: var x = 1.0; and a type comes \
             after the name: var x: f32 = 1.0;",
        );
    }
    if ["(float)", "(int)", "(f32)", "(u32)"]
        .iter()
        .any(|cast| line.contains(cast))
    {
        return Some("A conversion is written like a call: f32(N).");
    }
    let names = ["float", "double", "int", "uint"];
    if let Some(name) = names.iter().find(|name| says(&format!("`{name}`"))) {
        return Some(match *name {
            "float" | "double" => "WGSL calls it f32.",
            "int" => "WGSL calls it i32.",
            _ => "WGSL calls it u32.",
        });
    }
    if says("f64") {
        return Some("There is no f64 here: the floats of WGSL are f32.");
    }
    if line.contains("**") {
        return Some("WGSL has no **: write pow(x, -0.5), x * x, or inverseSqrt(x).");
    }
    if says("exclusiveor") {
        return Some(
            "In WGSL ^ is no power but the exclusive or of bits: write x * x, or pow(x, y).",
        );
    }
    if says("found \"?\"") {
        return Some(
            "WGSL has no ?: operator: write select(if_false, if_true, condition), or an if.",
        );
    }
    if says("found \"#\"") {
        return Some("A comment begins with //.");
    }
    if begins(&["for", "if", "while"]) && (says("expected `(`") || says("expected `{`")) {
        return Some(
            "Braces go around a block: if row == 0u { ... }, and a loop is for (var i = 0u; i < N; i++) { ... }.",
        );
    }
    if says("expected variable access") || says("expected `]`, found \",\"") {
        return Some("Tensors are read like functions, with all their indices: probs(row, col).");
    }
    if says("arguments, but") {
        return Some("The heading has each tensor with its indices: all of them are needed.");
    }
    if says("return") && (says("missing") || says("doesn't match") || says("does not match")) {
        return Some("The function has to return an f32 on every path.");
    }
    if says("expected `;`") || says("expected ';'") {
        return Some(
            "Is there a semicolon missing just before this place, perhaps on the line above?",
        );
    }
    if says("i32 and u32") || says("u32 and i32") {
        return Some(
            "Rows, columns and sizes are u32, and i32 does not mix with them: begin with 0u, not 0.",
        );
    }
    let mixed = says("automatic conversion")
        || says("cannot be converted")
        || says("abstract types")
        || says("operation") && says("can't work with")
        || says("incompatible");
    if mixed {
        return Some(
            "u32 and f32 do not mix. f32(N) turns a whole number into a float; 2u is a whole number, and 2.0 is \
             a float.",
        );
    }
    if says("redefinition of") {
        return Some("This name is declared already, here or by the program: take another one.");
    }
    if says("no definition in scope") {
        return Some(
            "Is it spelled as in the heading? WGSL knows what the heading gives, and its own functions.",
        );
    }
    if says("not mutable") || says("cannot assign") || says("immutable") || says("left-hand side") {
        return Some("`let` names a value that stays. Declare what changes with `var`.");
    }
    None
}
