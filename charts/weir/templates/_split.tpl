{{/*
A split policy and its binding: while Weir splits a route, what Weir wrote goes into
whatever others write to it, so that a GitOps tool that puts its manifest back
neither undoes the split nor sees a drift: weights and the canary's entries, mirrors
to the canary, and rules for requests that match. Every other edit passes, of the
same rules too. Without it (it needs Kubernetes 1.35) the controller puts all that
back when it sees it gone.

What is split stands in annotations that only Weir writes. They are taken from
the old object, so that a replace which drops them escapes no more than an
apply. The label weir.dev/split selects the routes, so that no other route is
ever looked at; set to "off" it lets every write through as it is, for the day
on which Weir is down.

The annotation is a list, joined by ";", of: owner, stable Service, canary
Service, weight in parts per 10,000, rules (names joined by ",", or *).

The numbers are those that Weir itself writes. In a rule as the user wrote it
every weight is multiplied by the first of 1, 100, 1000 and 10000 that splits
without a rest, within a limit of a million; then each entry of the user's
Service becomes two. In a rule that has the canary's entries already, from an
edit of the live object, the two share what they have together.

Mirrors and rules are taken from the old object as they are, whatever they say. A
mirror is Weir's if it goes to a canary's Service; a rule if it is named
weir-PLACE-OWNER, where PLACE counts the user's rules, and a letter behind it says
what the rule is for. Both come back only beside the user's rule that they were made
for: the one in the same place, if it still has the same name, the same requests to
meet, and the same entries, whatever these weigh. Other edits of it, such as of a
timeout, do not matter: the controller takes them over into the rule that it made.
But where that place has another rule now, what was made for the old one might be for
the wrong requests, or go where nothing is to go. It is left out, and the controller
makes it anew. So is what would make the route larger than the API admits, and thus
have it refused. Weights in a rule that Weir made are not looked at.

Call it with a dict of: root, and how a kind of route is written, as the provider
for it knows, too:
  name       of the policy
  rule       the resourceRule
  lists      the fields of spec that hold rules, none where spec is the one rule
  entries    the field of a rule that holds its entries
  implied    CEL: the entries of a rule that has none; '' for none
  written    the path in an entry of what names its Service
  drop       a path in an entry that the canary's goes without; '' for none
  service    CEL: the Service that entry b names, '' for any other backend
  weight     CEL: the weight of entry b, one of the entries bs
  number     CEL: how a weight w is written; '' for a number
  room       the most entries, or mirrors, that the API admits in a rule, 0 for any
             number
  extras     what else Weir writes into the first of the lists, none for nothing:
    matches    the field of a rule with what its requests must meet
    firstWins  whether of two rules that a request meets the first counts
    maxRules, maxMatches  the most rules, and matches of all of them, that the API
               admits; 0 for any number
    mirrors    the field of a rule that holds its mirrors
    mirror     CEL: a list of what names the Service of mirror m, as an entry does
    beside     a field of a rule beside which the API admits no mirrors; '' for none
*/}}
{{- define "weir.splitPolicy" -}}
{{- $made := ".?name.orValue('').matches('^weir-[0-9]{1,9}[csrd]?-.')" }}
{{- $mutating := include "weir.mutatingAPIVersion" .root }}
{{- if and $mutating (semverCompare ">=1.35.0-0" .root.Capabilities.KubeVersion.Version) }}
apiVersion: {{ $mutating }}
kind: MutatingAdmissionPolicy
metadata:
  name: {{ .name }}
  labels: {{- include "weir.labels" .root | nindent 4 }}
spec:
  # A route that is written without its weights is put right by the controller;
  # a route that cannot be written is an outage of its own.
  failurePolicy: Ignore
  reinvocationPolicy: IfNeeded
  matchConstraints:
    objectSelector:
      matchExpressions: [{key: weir.dev/split, operator: Exists}]
    # A rule for a kind that the cluster does not know never matches anything.
    resourceRules:
      - {{- toYaml .rule | nindent 8 }}
        operations: [UPDATE]
  # For some seconds after its start, an API server refuses whatever a mutating
  # policy is to look at if its kind comes from a CRD, failurePolicy or not.
  # Weir's own writes, lowerings among them, must not wait for that. (A condition
  # here can keep a policy from being reinvoked, but not this one: the user is the
  # same each time.)
  matchConditions:
    - name: not-weir
      expression: request.userInfo.username != {{ include "weir.celUsername" .root }}
  # Each mutation sees the object as the one before left it, and all variables anew.
  variables:
    - name: old
      expression: oldObject.metadata.?annotations.orValue({})
    - name: active
      expression: >-
        'weir.dev/split' in variables.old
        && ![object, oldObject].exists(o, o.metadata.?labels['weir.dev/split'].orValue('') == 'off')
    # Each as [owner, stable, canary, weight, rules].
    - name: splits
      expression: >-
        variables.active ? variables.old['weir.dev/split'].split(';').map(s, s.split(' ')).filter(s, s.size() == 5) : []
    {{- if .lists }}
    # The fields that hold rules, each as [name, rules].
    - name: lists
      expression: >-
        variables.active ? ['{{ join "', '" .lists }}'].map(l, [dyn(l), dyn(object.?spec[l].orValue([]))]) : []
    - name: rules
      expression: "variables.lists.map(l, l[1]).flatten()"
    {{- else }}
    - name: rules
      expression: "variables.active ? [object.?spec.orValue({})] : []"
    {{- end }}
    - name: indexes
      expression: lists.range(variables.rules.size())
    # What follows is one for each rule. Where its entries are, and these:
    - name: paths
      expression: >-
        {{- if .lists }}
        variables.lists.map(l, lists.range(l[1].size()).map(i,
        '/spec/' + l[0] + '/' + string(i) + '/{{ .entries }}/')).flatten()
        {{- else }}
        variables.rules.map(r, '/spec/{{ .entries }}/')
        {{- end }}
    - name: entries
      expression: >-
        {{- if .implied }}
        variables.rules.map(r, r.?{{ .entries }}.orValue([]).size() > 0 ? r.{{ .entries }} : dyn({{ .implied }}))
        {{- else }}
        variables.rules.map(r, r.?{{ .entries }}.orValue([]))
        {{- end }}
    # The splits that are for it, none if Weir has made it:
    - name: mine
      expression: >-
        variables.rules.map(r, r{{ $made }} ? [] :
        variables.splits.filter(s, s[4] == '*' || r.?name.orValue('*') in s[4].split(',')))
    # The Services of its entries, and their weights:
    - name: services
      expression: >-
        variables.entries.map(bs, bs.map(b, {{ .service }}))
    - name: weights
      expression: >-
        variables.entries.map(bs, bs.map(b, {{ .weight }}))
    # The weight of the split that each entry is for, -1 for none:
    - name: shares
      expression: >-
        variables.indexes.map(i, variables.services[i].map(b,
        (variables.mine[i].filter(s, s[1] == b).map(s, int(s[3])) + [-1])[0]))
    # Whether it has the canary's entries already:
    - name: present
      expression: variables.indexes.map(i, variables.services[i].exists(b, variables.mine[i].exists(s, s[2] == b)))
    # Whether it is to get them, which the API must have room for:
    - name: fresh
      expression: >-
        variables.indexes.map(i, !variables.present[i] && variables.shares[i].exists(c, c >= 0)
        {{- with .room }}
        && variables.shares[i].size() + variables.shares[i].filter(c, c >= 0).size() <= {{ . }}
        {{- end }})
    # The factor of its weights:
    - name: limits
      expression: "variables.weights.map(w, [1000000 / (w + [1]).max(), 1].max())"
    - name: factors
      expression: >-
        variables.indexes.map(i, ([1, 100, 1000, 10000].filter(f, f <= variables.limits[i]
        && lists.range(variables.shares[i].size()).all(j,
        variables.shares[i][j] < 0 || variables.weights[i][j] * f * variables.shares[i][j] % 10000 == 0))
        + [variables.limits[i]])[0])
    {{- with .extras }}
    {{- $field := printf "'%s'" (first $.lists) }}
    # The list with Weir's mirrors and rules, as it is and as it was, and in each of
    # them the places of the user's rules:
    - name: now
      expression: "variables.active ? object.?spec[{{ $field }}].orValue([]) : []"
    - name: was
      expression: "variables.active ? oldObject.?spec[{{ $field }}].orValue([]) : []"
    - name: users
      expression: lists.range(variables.now.size()).filter(i, !variables.now[i]{{ $made }})
    - name: were
      expression: lists.range(variables.was.size()).filter(i, !variables.was[i]{{ $made }})
    - name: canaries
      expression: variables.splits.map(s, s[2])
    # Of each of the user's rules that were, whether it is as it was:
    - name: kept
      expression: >-
        lists.range(variables.were.size()).map(n, n < variables.users.size()
        && [[variables.was[variables.were[n]], variables.now[variables.users[n]]]].exists(p,
        ['name', '{{ .matches }}'].all(k, p[0][?k].orValue('') == p[1][?k].orValue(''))
        && [p.map(r, r.?{{ $.entries }}.orValue([]).filter(b, !(({{ $.service }}) in variables.canaries)))].exists(e,
        e[0].size() == e[1].size() && lists.range(e[0].size()).all(j,
        e[0][j].all(k, k == 'weight' || k in e[1][j] && e[0][j][k] == e[1][j][k])
        && e[1][j].all(k, k == 'weight' || k in e[0][j])))))
    # The Services that each of the user's rules mirrors to:
    - name: mirrored
      expression: >-
        variables.users.map(i, variables.now[i].?{{ .mirrors }}.orValue([]).map(m, ({{ .mirror }}).map(b, {{ $.service }})).flatten())
    # The rules of Weir's that are gone and come back, each as [place, place among the
    # user's rules of the one that it is for]:
    - name: lost
      expression: >-
        [variables.now.map(r, r.?name.orValue(''))].map(names,
        lists.range(variables.was.size()).filter(i, variables.was[i]{{ $made }} && !(variables.was[i].name in names)))[0]
        .map(i, [i, int(variables.was[i].name.find('[0-9]+'))])
        .filter(l, l[1] < variables.were.size() && variables.kept[l[1]]
        && variables.mine[variables.users[l[1]]].exists(s, s[0] == variables.was[l[0]].name.split('-', 3)[2]))
    # Those of them that stood right before that one, and all others:
    - name: before
      expression: >-
        variables.lost.filter(l, l[0] < variables.were[l[1]] && (l[1] == 0 || l[0] > variables.were[l[1] - 1]))
    - name: after
      expression: {{ if .firstWins }}"[]" # Where they counted for nothing.{{ else }}variables.lost.filter(l, !(l in variables.before)){{ end }}
    {{- end }}
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          !variables.active ? [] :
          (has(object.metadata.annotations) ? [] : [JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}])
          + ['weir.dev/seq', 'weir.dev/split', 'weir.dev/split-original'].filter(k, k in variables.old).map(k,
          JSONPatch{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey(k), value: variables.old[k]})
          + (has(object.metadata.labels) ? [] : [JSONPatch{op: 'add', path: '/metadata/labels', value: {}}])
          + [JSONPatch{op: 'add', path: '/metadata/labels/weir.dev~1split', value: 'active'}]
    {{- if .implied }}
    # Entries that are not written are, so that what follows finds them.
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          variables.indexes.filter(i, variables.fresh[i] && variables.rules[i].?{{ .entries }}.orValue([]).size() == 0).map(i,
          (has(object.spec) ? [] : [JSONPatch{op: 'add', path: '/spec', value: {}}])
          + [JSONPatch{op: 'add', path: '/spec/{{ .entries }}', value: variables.entries[i]}]).flatten()
    {{- end }}
    # Rules as the user wrote them: each entry is turned into the canary's, copied
    # to the end of the list, and turned back, so that the copy has all it has.
    # This comes before the next: what it adds is right, and stays.
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          variables.indexes.filter(i, variables.fresh[i]).map(i,
          lists.range(variables.weights[i].size()).map(j,
          [variables.paths[i] + string(j)].map(at,
          [variables.weights[i][j] * variables.factors[i]].map(total,
          variables.shares[i][j] < 0 ? [JSONPatch{op: 'add', path: at + '/weight', value: {{ include "weir.splitNumber" (list . "total") }}}] :
          [variables.entries[i][j].{{ .written }}].map(name,
          [variables.mine[i].filter(s, s[1] == variables.services[i][j])[0]].map(s,
          [(total * variables.shares[i][j] + 4999) / 10000].map(part, [
          JSONPatch{op: 'replace', path: at + '/{{ .written | replace "." "/" }}', value: name.replace(s[1], s[2], 1)},
          JSONPatch{op: 'add', path: at + '/weight', value: {{ include "weir.splitNumber" (list . "part") }}}
          ]
          {{- with .drop }} + (has(variables.entries[i][j].{{ . }}) ? [
          JSONPatch{op: 'remove', path: at + '/{{ . | replace "." "/" }}'}] : [])
          {{- end }} + [
          JSONPatch{op: 'copy', from: at, path: variables.paths[i] + '-'},
          JSONPatch{op: 'replace', path: at + '/{{ .written | replace "." "/" }}', value: name},
          JSONPatch{op: 'add', path: at + '/weight', value: {{ include "weir.splitNumber" (list . "total - part") }}}
          ]
          {{- with .drop }} + (has(variables.entries[i][j].{{ . }}) ? [
          JSONPatch{op: 'add', path: at + '/{{ . | replace "." "/" }}', value: variables.entries[i][j].{{ . }}}] : [])
          {{- end }}
          )[0])[0])[0])[0])[0]).flatten()).flatten()
    # Rules that have the canary's entries: the first of stable with the first of
    # canary, and so on.
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          variables.indexes.filter(i, variables.present[i]).map(i, variables.mine[i].map(s,
          [lists.range(variables.services[i].size()).filter(j, variables.services[i][j] == s[1])].map(stable,
          [lists.range(variables.services[i].size()).filter(j, variables.services[i][j] == s[2])].map(canary,
          stable.size() != canary.size() ? [] :
          lists.range(stable.size()).map(k,
          [variables.weights[i][stable[k]] + variables.weights[i][canary[k]]].map(total,
          [(total * int(s[3]) + 4999) / 10000].map(part, [
          JSONPatch{op: 'add', path: variables.paths[i] + string(stable[k]) + '/weight', value: {{ include "weir.splitNumber" (list . "total - part") }}},
          JSONPatch{op: 'add', path: variables.paths[i] + string(canary[k]) + '/weight', value: {{ include "weir.splitNumber" (list . "part") }}}
          ])[0])[0]).flatten())[0])[0]).flatten()).flatten()
    {{- with .extras }}
    {{- $list := printf "/spec/%s/" (first $.lists) }}
    # Mirrors that are gone, where the user's rule mirrors to that Service no more.
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          lists.range(variables.were.size()).filter(n, variables.was[variables.were[n]].?{{ .mirrors }}.orValue([]).exists(m,
          ({{ .mirror }}).exists(b, ({{ $.service }}) in variables.canaries)) && variables.kept[n])
          .map(n, [variables.was[variables.were[n]].{{ .mirrors }}.filter(m, ({{ .mirror }}).map(b, {{ $.service }})
          .exists(c, c in variables.canaries && !(c in variables.mirrored[n])))].map(lost,
          [variables.now[variables.users[n]]].map(r,
          lost.size() == 0
          {{- with .beside }} || has(r.{{ . }}){{ end }}
          {{- with $.room }} || r.?{{ $.extras.mirrors }}.orValue([]).size() + lost.size() > {{ . }}{{ end }} ? [] :
          (has(r.{{ .mirrors }}) ? [] : [JSONPatch{op: 'add', path: '{{ $list }}' + string(variables.users[n]) + '/{{ .mirrors }}', value: []}])
          + lost.map(m, JSONPatch{op: 'add', path: '{{ $list }}' + string(variables.users[n]) + '/{{ .mirrors }}/-', value: m}))[0])[0]).flatten()
    # Rules that are gone: as they came, before the user's rules, which those that come
    # back have moved on, or at the end.
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          {{- with .maxRules }}
          variables.now.size() + variables.lost.size() > {{ . }} ? [] :
          {{- end }}
          {{- with .maxMatches }}
          (variables.now + variables.lost.map(l, variables.was[l[0]])).map(r, r.?{{ $.extras.matches }}.orValue([]).size()).sum() > {{ . }} ? [] :
          {{- end }}
          lists.range(variables.before.size()).map(k, JSONPatch{op: 'add',
          path: '{{ $list }}' + string(variables.users[variables.before[k][1]] + k), value: variables.was[variables.before[k][0]]})
          + variables.after.map(l, JSONPatch{op: 'add', path: '{{ $list }}-', value: variables.was[l[0]]})
    {{- end }}
---
{{ include "weir.binding" (dict "root" .root "apiVersion" $mutating "kind" "MutatingAdmissionPolicyBinding" "name" .name) }}
{{- end }}
{{- end -}}

{{/*
A weight as CEL, written as the kind has it. Call it with a list of the policy's dict
and the weight.
*/}}
{{- define "weir.splitNumber" -}}
{{- with (first .).number }}[{{ last $ }}].map(w, {{ . }})[0]{{ else }}{{ last . }}{{ end }}
{{- end -}}
