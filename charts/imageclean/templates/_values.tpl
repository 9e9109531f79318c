{{- /* Made by make generate of what kubectl imageclean install applies, pkg/manifests. Not to be edited. */}}

{{- /* What the templates take: as install makes it of the defaults, with what the chart's values say. */}}
{{- define "imageclean.values" -}}
{{- $deploy := .Values.deploy -}}
{{- $values := fromJson `{"Namespace":"","SystemNamespace":"kube-system","Name":"eraser-controller-manager","Image":"/imageclean-controller:dev","StateName":"imageclean-state","SystemExclusionName":"eraser-system-exclusion","LeaseName":"imageclean-controller","NetworkPolicyName":"imageclean-node-pods","TypeLabel":"eraser.sh/type","Labels":{"app.kubernetes.io/managed-by":"kubectl-imageclean","app.kubernetes.io/name":"imageclean","app.kubernetes.io/version":"dev"},"AppLabels":{"app.kubernetes.io/name":"imageclean"},"DeploymentLabels":{"app.kubernetes.io/component":"controller","app.kubernetes.io/managed-by":"kubectl-imageclean","app.kubernetes.io/name":"imageclean","app.kubernetes.io/version":"dev"},"Selector":{"app.kubernetes.io/component":"controller","app.kubernetes.io/name":"imageclean","control-plane":"controller-manager"},"PodLabels":{"app.kubernetes.io/component":"controller","app.kubernetes.io/name":"imageclean","app.kubernetes.io/version":"dev","control-plane":"controller-manager"},"NodeSelector":{"kubernetes.io/os":"linux"},"ImagePullSecret":"","PriorityClassName":"","Tolerations":null,"Resources":{"limits":{"cpu":"2","memory":"512Mi"},"requests":{"cpu":"50m","memory":"128Mi"}},"Affinity":null}` -}}
{{- $_ := set $values "Namespace" .Release.Namespace -}}
{{- $_ := set $values "Image" (printf "%s%s" ($deploy.image.registry | default "ghcr.io/imageclean") $values.Image) -}}
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
{{- define "imageclean.address" -}}oci://ghcr.io/imageclean/charts/imageclean{{- end }}

{{- /* The settings, as install writes them: how the controller runs itself is in them as well. */}}
{{- define "imageclean.settings" -}}
{{- $deploy := .Values.deploy -}}
{{- $controller := dict -}}
{{- range $setting, $value := dict "registry" $deploy.image.registry "imagePullSecret" (include "imageclean.pullSecret" .) "nodeSelector" $deploy.nodeSelector "tolerations" $deploy.tolerations "priorityClassName" $deploy.priorityClassName -}}
{{- with $value -}}{{- $_ := set $controller $setting . -}}{{- end -}}
{{- end -}}
{{- $settings := dict "apiVersion" "imageclean.sh/v1alpha1" "kind" "Settings" "controller" $controller -}}
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
{{- merge $settings (dict "schedule" ($schedule | default (dict "interval" "1w")) "policy" $policy "nodes" $nodes "keepPods" $keepPods) | toYaml -}}
{{- end }}
