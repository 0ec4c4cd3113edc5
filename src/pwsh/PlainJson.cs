using System;
using System.Collections;
using System.Collections.Specialized;
using System.Management.Automation;
using System.Text.Json;

namespace SecretBridge;

/// <summary>
/// JSON as plain objects: an object is an OrderedDictionary with case-sensitive keys, a list an object[], a number an
/// int, long or double; strings stay strings, whatever they look like.
/// </summary>
public static class PlainJson
{
    /// <summary>A fresh object.</summary>
    public static OrderedDictionary NewObject() => new(StringComparer.Ordinal);

    /// <summary>An element as a plain object.</summary>
    public static object? Read(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                OrderedDictionary read = NewObject();
                foreach (JsonProperty member in element.EnumerateObject())
                {
                    read[member.Name] = Read(member.Value);
                }
                return read;
            case JsonValueKind.Array:
                object?[] list = new object?[element.GetArrayLength()];
                int at = 0;
                foreach (JsonElement item in element.EnumerateArray())
                {
                    list[at++] = Read(item);
                }
                return list;
            case JsonValueKind.String:
                return element.GetString();
            case JsonValueKind.Number:
                return element.TryGetInt32(out int small) ? (object)small : element.TryGetInt64(out long large) ? (object)large : element.GetDouble();
            case JsonValueKind.True:
                return true;
            case JsonValueKind.False:
                return false;
            default:
                return null;
        }
    }

    /// <summary>A text as a plain object.</summary>
    public static object? Parse(string text)
    {
        using JsonDocument document = JsonDocument.Parse(text);
        return Read(document.RootElement);
    }

    /// <summary>Writes a plain object. What is none goes as its text.</summary>
    public static void Write(Utf8JsonWriter writer, object? value)
    {
        switch (Bare(value))
        {
            case null:
                writer.WriteNullValue();
                break;
            case string text:
                writer.WriteStringValue(text);
                break;
            case IDictionary members:
                writer.WriteStartObject();
                foreach (DictionaryEntry entry in members)
                {
                    writer.WritePropertyName(Text(entry.Key));
                    Write(writer, entry.Value);
                }
                writer.WriteEndObject();
                break;
            case bool flag:
                writer.WriteBooleanValue(flag);
                break;
            case int number:
                writer.WriteNumberValue(number);
                break;
            case long number:
                writer.WriteNumberValue(number);
                break;
            case double number:
                writer.WriteNumberValue(number);
                break;
            case IEnumerable items:
                writer.WriteStartArray();
                foreach (object? item in items)
                {
                    Write(writer, item);
                }
                writer.WriteEndArray();
                break;
            case object other:
                writer.WriteStringValue(Text(other));
                break;
        }
    }

    /// <summary>What PowerShell may have wrapped.</summary>
    public static object? Bare(object? value) =>
        value is PSObject { BaseObject: not PSCustomObject } wrapped ? wrapped.BaseObject : value;

    /// <summary>A value's type, as `GetType()` gives it in PowerShell.</summary>
    public static Type? TypeOf(object? value) => (value is PSObject wrapped ? wrapped.BaseObject : value)?.GetType();

    /// <summary>A value's text, as PowerShell gives it.</summary>
    public static string Text(object? value) => value as string ?? LanguagePrimitives.ConvertTo<string>(value) ?? "";
}
