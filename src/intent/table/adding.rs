//! Evidence that adds to what the calls themselves say, or takes from it: mostly what the later reasoning says.

use super::super::evidence as says;
use super::super::rules::{Effect, Rule, pair_of};

const NAME_ERROR: &str = "Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\nNameError: name 'math' is not defined";

/// What adds a little, or takes it away.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "other_way_announced",
        reason: "the later reasoning says that it goes another way",
        effect: Effect::Plus(-0.2),
        says: says::other_way_announced,
        examples: [
            pair_of(["python", "brute_force(12)", "timeout", "timed out"], ["python", "brute_force(3)"])
                .with_reasoning("This takes too long. Let me try a completely different approach."),
            pair_of(["python", "brute_force(12)", "timeout", "timed out"], ["python", "brute_force(3)"])
                .with_reasoning("This takes too long. Let me use a smaller number."),
        ],
    },
    Rule {
        name: "look_announced",
        reason: "the later reasoning says that it checks, looks or debugs, which the failed step did not set out to do",
        effect: Effect::Plus(-0.3),
        says: says::look_announced,
        examples: [
            pair_of(
                ["bash", "gcc a.x -o a && ./a", "shell_error", "ld: file format not recognized"],
                ["bash", "gcc -c a.x"],
            )
            .with_reasoning("Let me check the compilation step more carefully:"),
            pair_of(
                ["bash", "gcc a.x -o a && ./a", "shell_error", "ld: file format not recognized"],
                ["bash", "gcc -x c a.x -o a && ./a"],
            )
            .with_reasoning("The type must be named."),
        ],
    },
    Rule {
        name: "drops_what_it_wrote",
        reason: "the failed call was to write a file, which the later one leaves out",
        effect: Effect::Plus(-0.2),
        says: says::drops_what_it_wrote,
        examples: [
            pair_of(
                ["python", "s = mean(rows)\nopen('out.txt', 'w').write(s)", "TypeError", "TypeError: x"],
                ["python", "s = mean(rows)\nprint(rows[0])"],
            ),
            pair_of(
                ["python", "s = mean(rows)\nopen('out.txt', 'w').write(s)", "TypeError", "TypeError: x"],
                ["python", "s = mean(rows)\nopen('out.txt', 'w').write(str(s))"],
            ),
        ],
    },
    Rule {
        name: "drops_what_it_made",
        reason: "the later code gives a value to none of the names that the failed code was to make",
        effect: Effect::Plus(-0.2),
        says: says::drops_what_it_made,
        examples: [
            pair_of(
                ["python", "hours = (100 - change) / 3", "NameError", "NameError: name 'change' is not defined"],
                ["python", "change = symbols('change')"],
            ),
            pair_of(
                ["python", "hours = (100 - change) / 3", "NameError", "NameError: name 'change' is not defined"],
                ["python", "change = 40\nhours = (100 - change) / 3"],
            ),
        ],
    },
    Rule {
        name: "error_taken_up",
        reason: "the later reasoning takes up the error, or the name that it complains about",
        effect: Effect::Plus(0.05),
        says: says::error_taken_up,
        examples: [
            pair_of(["python", "math.sqrt(2)", "NameError", NAME_ERROR], ["python", "import math\nmath.sqrt(2)"])
                .with_reasoning("I forgot to import the math module."),
            pair_of(["python", "math.sqrt(2)", "NameError", NAME_ERROR], ["python", "import math\nmath.sqrt(2)"])
                .with_reasoning("Now the root of two."),
        ],
    },
];
