[[.Header]]

{{- /* What the templates take: as install makes it of the defaults, with what the chart's values say. */}}
{{- define "imageclean.values" -}}
{{- $deploy := .Values.deploy -}}
{{- $values := fromJson `[[toJson .Values]]` -}}
{{- $_ := set $values "Namespace" .Release.Namespace -}}
{{- $_ := set $values "Image" (printf "%s%s" ($deploy.image.registry | default "[[.Registry]]") $values.Image) -}}
{{- $_ := set $values "NodeSelector" (merge (dict) ($deploy.nodeSelector | default dict) $values.NodeSelector) -}}
{{- $_ := set $values "PodLabels" (merge (dict) $values.PodLabels ($deploy.additionalPodLabels | default dict)) -}}
{{- $_ := set $values "ImagePullSecret" (include "imageclean.pullSecret" .) -}}
{{- $_ := set $values "PriorityClassName" $deploy.priorityClassName -}}
{{- $_ := set $values "Tolerations" $deploy.tolerations -}}
{{- $_ := set $values "Resources" $deploy.resources -}}
{{- $_ := set $values "Affinity" $deploy.affinity -}}
{{- $values | toJson -}}
{{- end }}

{{- define "imageclean.pullSecret" -}}
{{- range .Values.runtimeConfig.manager.pullSecrets -}}{{- . -}}{{- end -}}
{{- end }}

{{- /* Where releases of this chart are. */}}
{{- define "imageclean.address" -}}oci://[[.Registry]]/charts/imageclean{{- end }}

{{- /* The settings, as install writes them: how the controller runs itself is in them as well. */}}
{{- define "imageclean.settings" -}}
{{- $deploy := .Values.deploy -}}
{{- $controller := dict -}}
{{- range $setting, $value := dict "registry" $deploy.image.registry "imagePullSecret" (include "imageclean.pullSecret" .) "nodeSelector" $deploy.nodeSelector "tolerations" $deploy.tolerations "priorityClassName" $deploy.priorityClassName -}}
{{- with $value -}}{{- $_ := set $controller $setting . -}}{{- end -}}
{{- end -}}
{{- $settings := dict "apiVersion" "[[.Settings.APIVersion]]" "kind" "[[.Settings.Kind]]" "controller" $controller -}}
{{- $schedule := dict -}}
{{- $keepPods := dict -}}
{{- $policy := merge (dict) .Values.runtimeConfig.policy -}}
{{- $nodes := merge (dict) .Values.runtimeConfig.nodes -}}
{{- $manager := .Values.runtimeConfig.manager -}}
{{- /* Where a value is written, by Eraser's name, and where a setting is, by ours. What nobody says is left to the controller's defaults. */ -}}
{{- range list
  (list $manager.scheduling "repeatInterval" $schedule "interval")
  (list $manager.scheduling "cron" $schedule "cron")
  (list $manager.scheduling "timeZone" $schedule "timeZone")
  (list $manager.scheduling "beginImmediately" $settings "beginImmediately")
  (list $manager.imageJob "successRatio" $nodes "successRatio")
  (list $manager.imageJob.cleanup "delayOnSuccess" $keepPods "afterSuccess")
  (list $manager.imageJob.cleanup "delayOnFailure" $keepPods "afterFailure")
  (list .Values.runtimeConfig.components.scanner "enabled" $policy "scan") -}}
{{- if hasKey (index . 0) (index . 1) -}}{{- $_ := set (index . 2) (index . 3) (get (index . 0) (index . 1)) -}}{{- end -}}
{{- end -}}
{{- merge $settings (dict "schedule" ($schedule | default (dict "interval" "[[.Settings.Schedule.Interval]]")) "policy" $policy "nodes" $nodes "keepPods" $keepPods) | toYaml -}}
{{- end }}
