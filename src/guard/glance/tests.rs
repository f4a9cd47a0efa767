//! A glance against the parser.

use super::super::python;
use super::*;

const CODES: &[&str] = &[
    "import math\nx = math.sqrt(y)\nprint(x)",
    "from m import (a,\n  b as c)\nprint(a, c)",
    "def f(n, k=3):\n    total = 0\n    for i in range(n):\n        total += i\n    return total\nprint(f(4))",
    "for i, v in enumerate(values):\n    out = v\nprint(out)",
    "x = x + 1",
    "total += 1",
    "a = b = c",
    "f(\n    n=5,\n)\nprint(n)",
    "class A:\n    x = 1\n    def m(self):\n        y = 2\n        return x\nprint(x)",
    "with open(p) as f: data = f.read()",
    "s = '''\nx = 5\n'''\nprint(x)",
    "if (m := g()):\n    print(m)",
    "def f():\n    global n\n    n = 1\n",
    "o.a = 1; b = o.a",
    "[i for i in xs]\nprint(i)",
    "d = {'a': 1}  # y = 2",
    "x: int = 1\nif x: z = 2\nelse: w = 3",
    "try:\n    v = int(t)\nexcept ValueError as e:\n    print(e)",
    "lambda n: n",
];

/// A glance may doubt, but not miss: the parser is the judge.
#[test]
fn a_glance_errs_on_the_safe_side() {
    for code in CODES {
        let names = python::names(code).expect(code);
        for may in [may_define(code).expect("names"), lines_may_define(code).expect("names")] {
            let missed: Vec<_> = names.defined.iter().filter(|n| !may.contains(n.as_str())).collect();
            assert!(missed.is_empty(), "{code}: may define {missed:?}");
        }
        for sure in surely_defines(code) {
            assert!(names.defined.contains(sure), "{code}: does not define {sure}");
        }
        for used in &names.used {
            assert!(may_need(code, &HashSet::from_iter([used.as_str()])), "{code}: needs {used}");
        }
    }
}

#[test]
fn what_python_refuses_is_mostly_seen_without_a_parser() {
    let margins = ["x = 1\n    y = 2", "if x:\ny = 1", "def f():\n        a\n    b\nc", "for i in x:"];
    let open = ["print((1", "x = [1,\n  2", "f(1))\ny", "s = \"\"\"a\nb", "d = {'a': (1}"];
    for code in margins.into_iter().chain(open) {
        assert!(is_broken(code), "{code}");
    }
    for code in [
        "x = 1",
        "if x:\n    y\nelse:\n  z; w\n",
        " import math\nmath.pi",
        "  x = 1\n  y = 2",
        "def f(a,\n  b): # why\n# note\n    return a",
        "if x: y = 1; z = 2\nw",
        "print(')', \"it's (\") # :-(\nx = '''((''' + ')'",
        "!echo it's\nx",
    ] {
        assert!(!is_broken(code), "{code}");
    }
    assert!(CODES.iter().all(|code| !is_broken(code)));
}

#[test]
fn a_correction_that_defines_all_it_uses_is_cleared() {
    let code = "import math\n\ndef area(r):\n    square = r ** 2\n    return math.pi * square\n\nr = 3\nprint(area(r))";
    let names = may_define(code).expect("names");
    assert_eq!(names.len(), 4);
    assert!(!may_need(code, &names));
    assert!(may_need("print(area(r))", &names));
}
