//! Names, as Python itself would find them.

use super::names as names_of;

fn names(code: &str) -> (Vec<String>, Vec<String>) {
    let names = names_of(code).expect(code);
    (names.used.into_iter().collect(), names.defined.into_iter().collect())
}

/// (code, used, defined), names by spaces.
#[test]
fn names_are_read_as_python_runs_them() {
    for (code, used, defined) in [
        ("x = y + 1", "y", "x"),
        ("x = x + 1", "x", "x"),
        ("x += 1", "x", ""),
        ("a, (b, *c) = f(d)", "d f", "a b c"),
        ("a = b = 1", "", "a b"),
        ("x: int = 1\ny: int", "int", "x"),
        ("o.a = 1\nd[k] = v", "d k o v", ""),
        ("import os.path, numpy as np\nfrom m import a as b, c", "", "b c np os"),
        ("for i, x in enumerate(xs):\n    s = i\nprint(s, i)", "enumerate print xs", "i s x"),
        ("with open(p) as f, g() as (h, i):\n    f.read()", "g open p", "f h i"),
        ("try:\n    f()\nexcept (A, B) as e:\n    print(e)", "A B f print", "e"),
        ("if (n := len(s)) > 3:\n    print(n)", "len print s", "n"),
        ("[x * k for x in xs if x > t]\nx", "k t x xs", ""),
        ("{a: b for a, b in p.items()}", "p", ""),
        ("ys = [y := f(x) for x in xs]", "f xs", "y ys"),
        ("f = lambda a, b=c: a + b + d", "c d", "f"),
        ("def f(a, *b, k=d, **c) -> T:\n    l = a + g + l\n    return h\nh = 1", "T d g", "f h"),
        ("def f():\n    global n\n    n = 1\nf()\nprint(n)", "print", "f n"),
        ("def f():\n    def g():\n        return a + b\n    a = 1\n    return g", "b", "f"),
        ("class A(B):\n    x = y\n    def m(self):\n        return x", "B x y", "A"),
        ("@d\ndef f(): pass", "d", "f"),
        ("x = 1\ndel x\nprint(x)", "print x", ""),
        ("print(f'{a!r:>{w}} {b.c}', end=e)", "a b e print w", ""),
        (
            "match c:\n    case P(x=a, y=[b, *r]) | {'k': v}:\n        pass\n    case Q.z:\n        pass",
            "P Q c",
            "a b r v",
        ),
        ("async def f():\n    async with s() as t:\n        await t", "s", "f"),
    ] {
        let split = |names: &str| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(code), (split(used), split(defined)), "{code}");
    }
}

#[test]
fn a_notebooks_own_lines_are_left_out() {
    assert_eq!(
        names("!pip install x\n%matplotlib inline\nimport x\nfiles = !ls\n"),
        (vec![], vec!["files".into(), "x".into()])
    );
    assert_eq!(names("%%bash\nrm -r $x").1, Vec::<String>::new());
    assert_eq!(names("```python\nx = 1\n```").1, ["x"]);
    assert!(names_of("%run setup.py\nx").is_some_and(|n| n.is_open));
    assert!(names_of("exec('x = 1')").is_some_and(|n| n.is_open));
    assert!(names_of("globals()['x'] = 1").is_some_and(|n| n.is_open));
    let open = names_of("a\nfrom m import *\nb").expect("Python");
    assert!(open.is_open && open.used.contains("a") && open.doubtful.contains("b"));
}

#[test]
fn what_is_no_python_or_too_much_of_it_has_no_names() {
    for code in [
        "x = = 1".to_owned(),
        "print 'python two', x".to_owned(),
        "def f(:".to_owned(),
        format!("x = {}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("x = {}1", "1+".repeat(20_000)),
        format!("x = {}1", "not ".repeat(20_000)),
        format!("x = y{}", ".a".repeat(20_000)),
        format!("x = f\"{{{}1{}}}\"", "[".repeat(5000), "]".repeat(5000)),
        "x = 1\n".repeat(200_000),
    ] {
        assert_eq!(names_of(&code), None, "{:.40}", code);
    }
}
