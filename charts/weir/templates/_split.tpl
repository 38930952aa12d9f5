{{/*
A split policy and its binding: while Weir splits a route, its weights go into
whatever others write to it, so that a GitOps tool that puts its manifest back
neither undoes the split nor sees a drift. Only weights and the canary's entries
are added; every other edit passes, of the same rules too. Without it (it needs
Kubernetes 1.35) the controller puts the weights back when it sees them gone.

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

Call it with a dict of: root, and how a kind of route is written, as the provider
for it knows, too:
  name       of the policy
  rule       the resourceRule
  lists      the fields of spec that hold rules
  entries    the field of a rule that holds its entries
  written    the path in an entry of what names its Service
  drop       a path in an entry that the canary's goes without; '' for none
  service    CEL: the Service that entry b names, '' for any other backend
  weight     CEL: the weight of entry b, one of the entries bs
  room       the most entries that the API admits in a rule, 0 for any number
*/}}
{{- define "weir.splitPolicy" -}}
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
    # The fields that hold rules, each as [name, rules].
    - name: lists
      expression: >-
        variables.active ? ['{{ join "', '" .lists }}'].map(l, [dyn(l), dyn(object.?spec[l].orValue([]))]) : []
    - name: rules
      expression: "variables.lists.map(l, l[1]).flatten()"
    - name: indexes
      expression: lists.range(variables.rules.size())
    # What follows is one for each rule. Where its entries are, and these:
    - name: paths
      expression: >-
        variables.lists.map(l, lists.range(l[1].size()).map(i,
        '/spec/' + l[0] + '/' + string(i) + '/{{ .entries }}/')).flatten()
    - name: entries
      expression: variables.rules.map(r, r.?{{ .entries }}.orValue([]))
    # The splits that are for it; none for a rule of Weir's own, whose entries say
    # themselves for which version it is:
    - name: mine
      expression: >-
        variables.rules.map(r, r.?name.orValue('').matches('^weir-[0-9]+[csrd]?-') ? [] : variables.splits.filter(s, s[4] == '*' || r.?name.orValue('*') in s[4].split(',')))
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
          variables.shares[i][j] < 0 ? [JSONPatch{op: 'add', path: at + '/weight', value: total}] :
          [variables.entries[i][j].{{ .written }}].map(name,
          [variables.mine[i].filter(s, s[1] == variables.services[i][j])[0]].map(s,
          [(total * variables.shares[i][j] + 4999) / 10000].map(part, [
          JSONPatch{op: 'replace', path: at + '/{{ .written | replace "." "/" }}', value: name.replace(s[1], s[2], 1)},
          JSONPatch{op: 'add', path: at + '/weight', value: part}
          ]
          {{- with .drop }} + (has(variables.entries[i][j].{{ . }}) ? [
          JSONPatch{op: 'remove', path: at + '/{{ . | replace "." "/" }}'}] : [])
          {{- end }} + [
          JSONPatch{op: 'copy', from: at, path: variables.paths[i] + '-'},
          JSONPatch{op: 'replace', path: at + '/{{ .written | replace "." "/" }}', value: name},
          JSONPatch{op: 'add', path: at + '/weight', value: total - part}
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
          JSONPatch{op: 'add', path: variables.paths[i] + string(stable[k]) + '/weight', value: total - part},
          JSONPatch{op: 'add', path: variables.paths[i] + string(canary[k]) + '/weight', value: part}
          ])[0])[0]).flatten())[0])[0]).flatten()).flatten()
---
{{ include "weir.binding" (dict "root" .root "apiVersion" $mutating "kind" "MutatingAdmissionPolicyBinding" "name" .name) }}
{{- end }}
{{- end -}}
