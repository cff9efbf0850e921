//! What to do about common slips of those who are new to WGSL.

/// A sentence for a compiler's message about a line, if it is a common one.
pub fn help(message: &str, line: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let says = |text: &str| message.contains(text);
    let names = ["float", "double", "int", "uint"];
    if let Some(name) = names.iter().find(|name| says(&format!("`{name}`"))) {
        return Some(match *name {
            "float" | "double" => "WGSL calls it f32.",
            "int" => "WGSL calls it i32.",
            _ => "WGSL calls it u32.",
        });
    }
    if line.contains("**") {
        return Some("WGSL has no **: write pow(x, -0.5), x * x, or inverseSqrt(x).");
    }
    if says("return") && (says("missing") || says("doesn't match") || says("does not match")) {
        return Some("The function has to return an f32 on every path.");
    }
    if says("expected `;`") || says("expected ';'") {
        return Some("Does the line before end with a semicolon?");
    }
    let mixed = says("automatic conversion")
        || says("cannot be converted")
        || says("operation") && says("can't work with")
        || says("incompatible");
    if mixed {
        return Some(
            "u32 and f32 do not mix: f32(n) makes a float of a whole number, and 2u is a whole number, 2.0 a \
             float.",
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
        return Some("`let` is for good: what changes is declared with `var`.");
    }
    None
}
