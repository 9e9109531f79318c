[[.Header]]

{{- /* What the templates take: as install makes it of the defaults, with what the chart's values say. */}}
{{- define "imageclean.values" -}}
{{- $deploy := .Values.deploy -}}
{{- $values := fromJson `[[toJson .Values]]` -}}
{{- $_ := set $values "Namespace" .Release.Namespace -}}
{{- $_ := set $values "Image" (printf "%s%s" ($deploy.image.registry | default "[[.Registry]]") $values.Image) -}}
{{- $_ := set $values "NodeSelector" (merge (dict) ($deploy.nodeSelector | default dict) $values.NodeSelector) -}}
{{- $_ := set $values "PodLabels" (merge (dict) $values.PodLabels ($deploy.additionalPodLabels | default dict)) -}}
{{- $_ := set $values "ImagePullSecret" $deploy.image.pullSecret -}}
{{- $_ := set $values "PriorityClassName" $deploy.priorityClassName -}}
{{- $_ := set $values "Tolerations" $deploy.tolerations -}}
{{- $_ := set $values "Resources" $deploy.resources -}}
{{- $_ := set $values "Affinity" $deploy.affinity -}}
{{- $values | toJson -}}
{{- end }}

{{- /* The settings, as install writes them: how the controller runs itself is in them as well. */}}
{{- define "imageclean.settings" -}}
{{- $deploy := .Values.deploy -}}
{{- $controller := dict -}}
{{- range $setting, $value := dict "registry" $deploy.image.registry "imagePullSecret" $deploy.image.pullSecret "nodeSelector" $deploy.nodeSelector "tolerations" $deploy.tolerations "priorityClassName" $deploy.priorityClassName -}}
{{- with $value -}}{{- $_ := set $controller $setting . -}}{{- end -}}
{{- end -}}
{{- $settings := merge (dict "apiVersion" "[[.Settings.APIVersion]]" "kind" "[[.Settings.Kind]]" "controller" $controller) .Values.runtimeConfig -}}
{{- if not $settings.schedule -}}{{- $_ := set $settings "schedule" (dict "interval" "[[.Settings.Schedule.Interval]]") -}}{{- end -}}
{{- $settings | toYaml -}}
{{- end }}
