#!/usr/bin/env python3
"""Golden files of chat templates, made by the Python library `jinja2`.

Renders the templates of tests/golden/templates/*.jinja, and the short ones
below, with jinja2 set up as the library `transformers` sets it up (an immutable
sandbox, trim_blocks, lstrip_blocks, loop controls, its tojson and
raise_exception), and writes tests/golden/templates/expected.json: for each
case the template, its variables, and the text, or "error" where the library
refuses it. tests/unit/test_template.c compares moh with them.

    scripts/golden_templates.py            write the file
    scripts/golden_templates.py --check    render again, compare

Needs jinja2 3.1 (Debian: python3-jinja2); the tests do not.
"""

import argparse
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests/golden"
FOLDER = GOLDEN / "templates"


class Raised(Exception):
    """What raise_exception raises."""


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True,
        extensions=[jinja2.ext.loopcontrols])

    def tojson(value, indent=None):
        return json.dumps(value, ensure_ascii=False, indent=indent)

    def raise_exception(message):
        raise Raised(message)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


# ---- conversations -------------------------------------------------------

def said(*contents, system=None):
    messages = [{"role": ("user", "assistant")[i % 2], "content": content}
                for i, content in enumerate(contents)]
    first = [] if system is None else [{"role": "system", "content": system}]
    return first + messages


TALKS = {
    "one": said("Hello"),
    "three": said("Hi there ", " Hello!\n", "  What is 2 + 2?"),
    "system": said("Who are you?", "A model.", "Sure?", system="Be brief."),
    "answered": said("a", "b"),
    "marks": said("<|im_end|>\n{{ x }} \"q\" \u00e9\u4e2d\U0001f600\u3000",
                  "</s>[INST]", "\t<end_of_turn> "),
    "odd": [{"role": "assistant", "content": "first"}],
    "empty": [],
    "none": [{"role": "user", "content": ""},
             {"role": "assistant", "content": "x"}],
    "parts": [{"role": "user", "content": [
        {"type": "text", "text": " one "}, {"type": "text", "text": "two"}]}],
    "thinking": said("Q1", "<think>\nhm\n</think>\n\nA1", "Q2",
                     "<think>\nwell\n</think>\n\nA2", "Q3"),
    "call": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"type": "function", "function": {
                "name": "weather", "arguments": {"city": "K\u00f6ln",
                                                 "days": 2}}}]},
        {"role": "tool", "content": "{\"rain\": true}"},
        {"role": "tool", "content": "{\"rain\": false}"}],
}
SETTINGS = {"bos_token": "<s>", "eos_token": "</s>",
            "add_generation_prompt": True, "tools": None, "documents": None}
TOOL = {"type": "function", "function": {
    "name": "weather", "description": "Says \"how\" it is\n",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string"}, "days": {"type": "integer",
                                             "default": None}}}}}


# ---- short templates, one construct each ----------------------------------

DATA = {"s": "a b", "n": 7, "z": 0, "e": "", "l": [3, 1, 2], "d":
        {"k": "v", "x": {"y": [1, "two"]}}, "none": None, "t": True,
        "u": "\u00e9t\u00e9 \u00fc", "w": " \u3000x\u00a0\n",
        "m": [{"role": "a", "v": 1}, {"role": "b", "v": 2},
              {"role": "a", "v": 3}]}
SHORT = r"""
plain
{{ s }}{{ n }}{{ t }}{{ missing }}|{{ d.none }}|
{{ 'it''s' }}{{ "a\tb\n\x41\u00e9\U0001F600\\\'\q" }}
{{ 'a' 'b' ~ 1 ~ true ~ none }}
{{ 1 + 2 * 3 - 4 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ (1 + 2) * 3 }}
{{ -n }} {{ +n }} {{ - -n }} {{ -l[0] }} {{ 1_000 }}
{{ 'ab' * 3 }} {{ ('x' * 0) ~ '.' }} {{ 'a' + 'b' }} {{ ([1] + [2]) | tojson }}
{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 'a' <= 'b' }} {{ n >= 7 }} {{ n != 7 }} {{ 1 == true }} {{ 1 == '1' }}
{{ 'a' in s }} {{ 'z' not in s }} {{ 1 in l }} {{ 9 not in l }} {{ 'k' in d }} {{ 'q' in missing }}
{{ not t }} {{ not e }} {{ t and s }} {{ e or 'x' }} {{ e and 1 }} {{ not 1 == 2 }}
{{ 'y' if t else 'n' }} {{ 'y' if e else 'n' }} {{ 'y' if e }}| {{ 1 if e else 2 if z else 3 }}
{{ l[0] }} {{ l[-1] }} {{ l[9] }}| {{ s[0] }} {{ s[-1] }} {{ u[0] }} {{ d['k'] }} {{ d.x.y[1] }} {{ d['x']['y'][0] }}
{{ l[1:] | tojson }} {{ l[:-1] | tojson }} {{ l[::-1] | tojson }} {{ l[::2] | tojson }} {{ l[5:] | tojson }} {{ l[-2:] | tojson }} {{ l[2:0:-1] | tojson }}
{{ s[1:] }} {{ s[::-1] }} {{ u[1:3] }} {{ u[-1:] }} {{ s[:100] }} {{ e[0:1] }}|
{{ s | upper }} {{ s | title }} {{ 'aB cD' | lower }} {{ 'aB cD' | capitalize }} {{ 'x-y (z) aB' | title }} {{ 'x-y (z) aB'.title() }} {{ s.upper() }} {{ 'aB'.lower() }}
[{{ '  a ' | trim }}] [{{ 'xxaxx' | trim('x') }}] [{{ 'xxa' | trim(chars='x') }}] [{{ w | trim }}] [{{ ' a '.strip() }}] [{{ ' a '.lstrip() }}] [{{ ' a '.rstrip() }}] [{{ 'abca'.strip('ac') }}] [{{ 'aab'.lstrip('a') }}] [{{ u.strip('ü') }}]
{{ l | length }} {{ s | length }} {{ u | length }} {{ d | count }} {{ missing | length }}
{{ missing | default('x') }} {{ missing | d('y') }} {{ e | default('x') }}| {{ e | default('x', true) }} {{ e | default('x', boolean=true) }} {{ missing | default }}| {{ none | default('x') }}
{{ l | join }} {{ l | join(', ') }} {{ ['a', u] | join('-') }} {{ ', '.join(['a', 'b']) }} {{ s | join('.') }}
{{ l | first }} {{ l | last }} {{ s | first }} {{ s | last }} {{ [] | first }}|
{{ d | tojson }} {{ none | tojson }} {{ "q\"\\\n\t/<>&'é" | tojson }} {{ t | tojson }} {{ [] | tojson }} {{ {} | tojson }}
{{ d | tojson(indent=2) }} {{ [] | tojson(indent=4) }} {{ [[1], {}] | tojson(2) }}
{{ 'aXbX' | replace('X', '--') }} {{ 'aXbX' | replace('X', '', 1) }} {{ 'aaa'.replace('aa', 'b') }} {{ 'abc'.replace('z', 'y') }}
{{ '12' | int }} {{ ' -3 ' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ '4.9' | int }} {{ t | int }} {{ 7 | string ~ '!' }} {{ none | string }}
{% for k, v in d | items %}{{ k }}={{ v if v is string else '?' }};{% endfor %}{% for k, v in d.items() %}{{ k }},{% endfor %}{% for k in d %}{{ k }}.{% endfor %}{% for k in d.keys() %}{{ k }}:{% endfor %}{% for v in d.values() %}{{ v is mapping }}{% endfor %}
{{ d.get('k') }} {{ d.get('q') }} {{ d.get('q', 'other') }}
{{ s.split() | tojson }} {{ 'a,b,,c'.split(',') | tojson }} {{ 'a,b,c'.split(',', 1) | tojson }} {{ ' a  b c '.split() | tojson }} {{ ' a b c '.split(none, 1) | tojson }} {{ 'x</think>y'.split('</think>')[-1] }} {{ ''.split() | tojson }} {{ ''.split(',') | tojson }}
{{ s.startswith('a') }} {{ s.endswith('b') }} {{ s.endswith(('x', 'b')) }} {{ s.startswith('') }} {{ s.startswith('a b c') }}
{{ s is defined }} {{ missing is defined }} {{ missing is not defined }} {{ missing is undefined }} {{ none is none }} {{ s is none }} {{ not s is none }}
{{ s is string }} {{ n is string }} {{ d is mapping }} {{ l is mapping }} {{ l is iterable }} {{ n is iterable }} {{ s is iterable }} {{ d is sequence }} {{ n is number }} {{ t is number }} {{ t is integer }} {{ n is integer }} {{ t is boolean }} {{ t is true }} {{ n is true }} {{ t is false }} {{ 1 is eq 1 }} {{ n is equalto(7) }} {{ n is ne 7 }} {{ 1 is in [1] }} {{ 2 is in l and true }}
{{ 'yes' if s is string else 'no' }} {{ s is string and n is number or false }}
{% if n > 5 %}big{% elif n > 2 %}middle{% else %}small{% endif %} {% if z %}x{% elif not z %}y{% endif %}{% if z %}x{% endif %}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ x }};{% endfor %}
{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}
{% for x in [] %}x{% else %}none{% endfor %} {% for x in l %}x{% else %}none{% endfor %} {% for x in missing %}x{% endfor %}
{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}none{% endfor %}
{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %} {% for x in l %}{{ x }}{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}
{% for a in [1, 2] %}{% for b in 'xy' %}{{ a }}{{ b }}{{ loop.index }} {% endfor %}{{ loop.index }};{% endfor %}
{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }},{% endfor %}{{ x }} {% if true %}{% set x = 9 %}{% endif %}{{ x }}
{% set ns = namespace(a=1, b='x') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{% set ns.c = 'new' %}{{ ns.c }}{{ ns.q }}|
{% set x %}a{{ n }}b{% endset %}[{{ x }}]{{ x | length }}
{% set d2 = {'a': 1, 'b': [1, 2], 'c': {'d': none}} %}{{ d2 | tojson }} {{ d2.b[1] }} {{ {'a': {'b': 2}}['a'].b }}
{{ (1, 2)[1] }} {{ () | length }} {{ (1,) | length }} {{ [1, 2,] | length }}
{{ m | selectattr('role', 'equalto', 'a') | map(attribute='v') | join(',') }} {{ m | rejectattr('role', 'eq', 'a') | list | length }} {{ m | selectattr('v') | list | length }} {{ l | select('equalto', 1) | list | tojson }} {{ l | reject('in', [1, 2]) | join }} {{ [0, 1, ''] | select | list | tojson }}
{#- c -#} x {# c #} y {#- c #} z
{{- s -}}  end
 {%- if t -%}  a  {%- endif -%}  b
{% if t +%} a{% endif %}
{%+ if t %}b{% endif %}
{{ 'a' ~ 'b' | upper }} {{ ('a' ~ 'b') | upper }} {{ -3 | string | length }} {{ 2 * 3 ~ 4 }} {{ '1' + 2 ~ 3 }}
{{ 5 if missing is defined and missing.x else 6 }} {{ (d.x is defined) if false else 'ok' }} {{ d.q is defined }} {{ (d.q.r is defined) if d.q else 'no' }}
{{ [1, [2]] == [1, [2]] }} {{ {'a': 1} == {'a': 1} }} {{ [1] == [2] }} {{ none == none }} {{ missing == none }} {{ '1' ~ 1 == '11' }}
{{ 'é' < 'z' }} {{ 'ab' < 'abc' }} {{ 'b' > 'abc' }}
{{ strftime_now is defined }}
""".strip("\n").split("\n")
LINES = [
    "a\n{% if t %}\n  b\n{% endif %}\nc\n",
    "  {% if t %}\n    {% for x in l %}\n  {{ x }}\n    {% endfor %}\n  {% endif %}\n end\n",
    "a \n  {%- if t %}\n b\n{%- endif %}\nc",
    "a\n  {# note #}\n  b {# note #}\n c\n\n",
    "  {{ s }}\n  {{- s }}\n{{ s -}}\n  x\n",
    "a\r\n{% if t %}\r\nb{% endif %}\rc\r\n",
    "{{ {'a': {'b': {}}} | tojson }}}}{{ '}}' }}{{ '%}' }}{% set x = '%}' %}{{ x }}",
    "\n{% set x = 1 %}\n\n{{ x }}\n", "\n\n", "", " ", "{%- set a = 1 -%}\n\n\n",
    "x {% if t %} y {% endif %} z\n\t {% if t %}\n q{% endif %}\n",
    "{%- for m in m %}\n    {%- if loop.first %}\n        {{- m.role + ':' }}\n    {%- endif %}\n    {{- ' ' ~ m.v }}\n{%- endfor %}\n",
    "{% for x in l %}\n{{ x }}\n{%- if not loop.last %}, {% endif %}\n{% endfor %}",
]
ERRORS = r"""
{{ missing.x }}
{{ missing + 1 }}
{{ 1 + 'a' }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ n.x.y }}
{{ 1 < 'a' }}
{{ s | nofilter }}
{{ s is notest }}
{{ s.nomethod() }}
{{ nofunction() }}
{{ raise_exception('no ' ~ s) }}
{% if t %}
{% endif %}
{% for x in l %}{% endif %}
{% for x %}{% endfor %}
{% nosuch %}
{{ }}
{{ 1 + }}
{{ (1 }}
{{ [1, }}
{{ 'a }}
{{ s
{% if t
{# x
{{ a b }}
{{ l.append(1) }}
{% for a, b in l %}{% endfor %}
{{ 5 in 5 }}
{{ n | length }}
{% for x in n %}{% endfor %}
{{ ] }}
{{ ! }}
{% break %}
{% set x.y = 1 %}
{{ 'a'.split('') }}
{{ 1 in 'a1' }}
{% for k, v in n | items %}{% endfor %}
""".strip("\n").split("\n")


def cases():
    """(name of a file or None, source, settings, data)"""
    for path in sorted(FOLDER.glob("*.jinja")):
        for name, talk in TALKS.items():
            # What Python writes of a list is no text for a prompt; moh
            # refuses it.
            if name == "parts" and path.name in ("llama3.jinja",
                                                 "own.jinja"):
                continue
            for prompt in (True, False):
                settings = {**SETTINGS, "add_generation_prompt": prompt}
                yield path.name, None, settings, {"messages": talk}
        for talk in ("system", "call"):
            yield (path.name, None, {**SETTINGS, "tools": None},
                   {"messages": TALKS[talk], "tools": [TOOL]})
        yield (path.name, None, {**SETTINGS, "enable_thinking": False},
               {"messages": TALKS["thinking"]})
    for source in SHORT + LINES + ERRORS:
        yield None, source, {}, DATA


def expected():
    env, result = environment(), []
    for name, source, settings, data in cases():
        text = source if name is None else (FOLDER / name).read_text()
        case = {"file": name} if name else {"source": source}
        case |= {"settings": settings, "data": data}
        try:
            case["text"] = env.from_string(text).render(
                **{**settings, **data})
        except Raised as error:
            case["raised"] = str(error)
        except Exception as error:  # whatever the library raises
            case["error"] = type(error).__name__
        result.append(case)
    for source in SHORT + LINES:
        [case] = [c for c in result if c.get("source") == source]
        assert "text" in case, case
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    text = "[\n" + ",\n".join(json.dumps(case, ensure_ascii=False)
                              for case in expected()) + "\n]\n"
    path = FOLDER / "expected.json"
    if not parser.parse_args().check:
        path.write_text(text)
    elif path.read_text() != text:
        sys.exit(f"{path} is not what jinja2 {jinja2.__version__} gives")


if __name__ == "__main__":
    main()
